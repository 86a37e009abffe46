//! client-amqp091
