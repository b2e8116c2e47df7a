//! How fast one pod takes in what nobody wants: a gateway beside a bare consumer of the same topic.
//!
//! Each [`rounds`] round makes a topic, [`fill`]s it with records as the gateway writes them, and has
//! it read from its beginning by a [`bare`] consumer and by a [`pod`], in turn. A [`meter`] follows
//! both in the same way, [`table`] prints what it came to. [`sustain`] keeps a pod at a rate for
//! minutes and watches its lag, [`latency`] follows single records from Kafka to a stream.

pub mod bare;
pub mod fill;
pub mod latency;
pub mod meter;
pub mod pod;
pub mod rounds;
pub mod sustain;
pub mod table;
