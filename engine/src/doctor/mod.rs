//! Doctor: what of the host holds the engine back, and what mends it. It reads, compares and says; it
//! changes nothing. `tuning/README.md` documents the same list.

mod checks;
mod finding;
mod host;
mod load;
mod print;
#[cfg(test)]
mod tests;

pub use finding::{Finding, Severity};
pub use host::Host;
pub use load::{Load, SessionsFrom};
pub use print::{json, text};

use checks::{Checked, descriptors, kernel, links, memory, network, processors};

/// One item of the list.
struct Item {
    id: &'static str,
    why: &'static str,
    check: fn(&Host, &Load) -> Checked,
}

const fn item(id: &'static str, check: fn(&Host, &Load) -> Checked, why: &'static str) -> Item {
    Item { id, why, check }
}

/// The list, in the order of `tuning/README.md`: what holds back most comes first.
#[rustfmt::skip]
const ITEMS: [Item; 33] = [
    item("kernel-version", kernel::version, "older kernels lack what the rings need"),
    item("io-uring", kernel::io_uring, "every read, send and wake-up goes through it"),
    item("locked-memory", descriptors::locked_memory, "rings count as locked memory, unless the process has CAP_IPC_LOCK"),
    item("descriptors", descriptors::limit, "a session is two descriptors"),
    item("nr-open", descriptors::nr_open, "no process may have more descriptors than this"),
    item("file-max", descriptors::file_max, "all processes together may not have more descriptors than this"),
    item("ports", network::ports, "an upstream connection takes a port for each source and destination address; past half of them connecting costs far more"),
    item("memory", memory::total, "a session takes memory in the kernel and in the engine even when it is idle"),
    item("memory-bounds", memory::bounds, "what every session, shard and pool may come to together; beyond what is allowed the kernel ends the process, and all of them with it"),
    item("tcp-memory", memory::tcp, "above the second field TCP shrinks windows, above the third it drops packets"),
    item("conntrack", network::conntrack, "a full table drops new connections, and every packet pays for the look-up"),
    item("listen-ports", network::listen_ports, "a restart fails while an outgoing connection has the listener's port"),
    item("syn-backlog", network::syn_backlog, "without cookies, few half-open connections keep real devices out"),
    item("accept-queue", network::accept_queue, "when many devices connect at once, those beyond it try again a second later"),
    item("time-wait", network::time_wait, "otherwise each upstream connection that we close keeps its port for a minute"),
    item("shards", processors::shards, "shards that share a processor take turns"),
    item("receive-queues", links::receive_queues, "a queue is served by one processor, which then is full before the others"),
    item("netdev-backlog", links::netdev_backlog, "packets that find it full are dropped and sent again"),
    item("governor", processors::governor, "a processor that has slowed down is slow for the first messages"),
    item("idle-states", processors::idle_states, "waking up comes before the first message after a pause"),
    item("isolation", processors::isolation, "other programs and the tick interrupt shards; it shows in the slowest messages alone"),
    item("clocksource", kernel::clocksource, "a clock outside of the processor makes each look a system call or a slow read"),
    item("min-wait", kernel::min_wait, "under load one system call and one wake-up then serve several messages"),
    item("tcp-buffers", memory::tcp_buffers, "so much may wait unread for each session that stalls"),
    item("unsent-data", memory::unsent_data, "so much may wait unsent for each device that does not read"),
    item("swap", memory::swap, "a session whose pages are on disk answers late"),
    item("overcommit", memory::overcommit, "threads and the allocator reserve more than they use"),
    item("huge-pages", memory::huge_pages, "small allocations may take 2 MiB each"),
    item("slow-start", links::slow_start, "a message of more than ten segments takes more round trips after a pause"),
    item("congestion-control", links::congestion_control, "messages of less than ten segments hardly meet it"),
    item("queue-discipline", links::queue_discipline, "on a full link, one large flow delays the small ones"),
    item("busy-polling", links::busy_polling, "the engine reads without waiting, which busy polling does not serve"),
    item("mitigations", kernel::mitigations, "they cost time in each system call, and protect; leave them on"),
];

/// The names of all items, in the order of the list.
pub fn ids() -> impl Iterator<Item = &'static str> {
    ITEMS.iter().map(|item| item.id)
}

/// Looks at the host. The findings come worst first.
#[must_use]
pub fn examine(host: &Host, load: &Load) -> Vec<Finding> {
    let mut findings: Vec<Finding> = ITEMS
        .iter()
        .map(|item| {
            let outcome = (item.check)(host, load).unwrap_or_else(Into::into);
            Finding {
                id: item.id,
                severity: outcome.severity,
                found: outcome.found,
                wanted: outcome.wanted,
                why: item.why,
                mend: outcome.mend,
            }
        })
        .collect();
    findings.sort_by_key(|finding| finding.severity);
    findings
}

/// Whether the engine does not run on such a host.
#[must_use]
pub fn is_blocked(findings: &[Finding]) -> bool {
    findings
        .iter()
        .any(|finding| finding.severity == Severity::Blocks)
}
