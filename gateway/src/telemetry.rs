//! stub
/// stub
pub mod metrics {
    /// stub
    pub fn malformed_record(_: &str) {}
}
