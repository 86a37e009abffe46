//! codec-amqp091
