//! frontend-amqp091
