//! Tests of the metadata machine.
