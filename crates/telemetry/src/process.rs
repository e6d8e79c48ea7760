//! Figures of the process under the names that every dashboard knows.

use prometheus_client::{
    collector::Collector,
    encoding::{DescriptorEncoder, EncodeMetric},
    metrics::{MetricType, counter::ConstCounter, gauge::ConstGauge},
};

use super::lines;

/// Log lines that were lost, and CPU, memory and files of this process, read from `/proc` at each scrape. Where there is none,
/// there are no such figures.
#[derive(Debug)]
pub struct ProcessFigures;

impl Collector for ProcessFigures {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), std::fmt::Error> {
        let lost = encoder.encode_descriptor(
            "process_log_lines_dropped",
            "Log lines that were lost because they were not read as fast as they were written",
            None,
            MetricType::Counter,
        )?;
        ConstCounter::new(lines::dropped()).encode(lost)?;
        let Ok(process) = procfs::process::Process::myself() else { return Ok(()) };
        let Ok(stat) = process.stat() else { return Ok(()) };
        #[allow(clippy::cast_precision_loss, reason = "a figure for people")]
        let seconds = (stat.utime + stat.stime) as f64 / procfs::ticks_per_second() as f64;
        let cpu = encoder.encode_descriptor(
            "process_cpu_seconds",
            "CPU time that the process has used",
            None,
            MetricType::Counter,
        )?;
        ConstCounter::new(seconds).encode(cpu)?;
        let memory = encoder.encode_descriptor(
            "process_resident_memory_bytes",
            "Memory that the process occupies",
            None,
            MetricType::Gauge,
        )?;
        ConstGauge::new(stat.rss.saturating_mul(procfs::page_size())).encode(memory)?;
        if let Ok(files) = process.fd_count() {
            let descriptor = encoder.encode_descriptor(
                "process_open_fds",
                "Files and connections that the process has open",
                None,
                MetricType::Gauge,
            )?;
            ConstGauge::new(u64::try_from(files).unwrap_or(u64::MAX)).encode(descriptor)?;
        }
        Ok(())
    }
}
