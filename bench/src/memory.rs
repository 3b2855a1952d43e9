//! Memory: what processes hold of it, and what the kernel holds for everybody's sockets.

use std::fs;

use anyhow::Context as _;

/// A reading, in bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Memory {
    /// Resident, pages that several processes share counted in each.
    pub rss: u64,
    /// Resident, shared pages counted in parts.
    pub pss: u64,
    /// Kernel objects of the whole machine.
    pub slab: u64,
}

/// What some processes hold, and the machine's slab.
///
/// # Errors
/// When one of them has ended.
pub fn of(pids: &[u32]) -> anyhow::Result<Memory> {
    let mut memory = Memory {
        slab: field(&fs::read_to_string("/proc/meminfo")?, "Slab:")?,
        ..Memory::default()
    };
    for pid in pids {
        let path = format!("/proc/{pid}/smaps_rollup");
        let text = fs::read_to_string(&path).with_context(|| path)?;
        memory.rss += field(&text, "Rss:")?;
        memory.pss += field(&text, "Pss:")?;
    }
    Ok(memory)
}

/// A field that the kernel writes in units of 1,024 bytes.
fn field(text: &str, name: &str) -> anyhow::Result<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix(name));
    let number = line.and_then(|line| line.trim().strip_suffix(" kB"));
    let kib: u64 = number.with_context(|| format!("no {name}"))?.parse()?;
    Ok(kib * 1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_touched_buffer_is_resident() {
        const SIZE: usize = 64 << 20;
        let own = [std::process::id()];
        let before = of(&own).unwrap();
        let buffer = std::hint::black_box(vec![1_u8; SIZE]);
        let after = of(&own).unwrap();
        assert!(after.rss - before.rss > SIZE as u64 / 2 && after.pss > before.pss);
        assert!(buffer.len() == SIZE && after.slab > 0);
    }
}
