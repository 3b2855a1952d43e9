//! Memory: what this process may have of it, by the host and by its control groups, and what the allocator keeps of what
//! was freed, given back.

use std::fs::File;
use std::io::Read as _;
use std::path::{Component, Path};

/// Bytes that are read of one file: lists of control groups and of the host's memory are far shorter.
const FILE_BYTES_MAX: u64 = 64 * 1024;

/// What a control group of version 1 says where it has no bound: the largest number of whole pages.
const UNBOUNDED_V1: u64 = 1 << 60;

/// What memory there is for this process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Allowed {
    /// In bytes.
    pub bytes: u64,
    /// Whether a control group allows less than the host has.
    pub by_group: bool,
}

/// What the host below `root`, which is `/` for the running one, allows this process: its memory, or the least that any
/// control group on the way from the process's own up to the top allows. `None` where neither can be read.
#[must_use]
pub fn allowed(root: &Path) -> Option<Allowed> {
    let of_host = of_host(root);
    // Where it is not said which it is, the top is all that is seen.
    let own = text(root, Path::new("proc/self/cgroup")).unwrap_or_else(|| "0::/".to_owned());
    let of_group = groups(&own)
        .into_iter()
        .filter_map(|(hierarchy, file, path)| least(root, hierarchy, file, &path))
        .min();
    match (of_host, of_group) {
        (Some(host), Some(group)) if group < host => Some(Allowed {
            bytes: group,
            by_group: true,
        }),
        (Some(bytes), _) => Some(Allowed {
            bytes,
            by_group: false,
        }),
        (None, group) => group.map(|bytes| Allowed {
            bytes,
            by_group: true,
        }),
    }
}

/// The host's memory.
fn of_host(root: &Path) -> Option<u64> {
    let text = text(root, Path::new("proc/meminfo"))?;
    let line = text
        .lines()
        .find_map(|line| line.strip_prefix("MemTotal:"))?;
    let kibibytes: u64 = line.trim().strip_suffix(" kB")?.trim().parse().ok()?;
    Some(kibibytes.saturating_mul(1024))
}

/// Where the bounds of this process's groups stand: hierarchy, file, path within the hierarchy.
fn groups(text: &str) -> Vec<(&'static str, &'static str, String)> {
    let lines = text.lines().filter_map(|line| {
        let mut fields = line.splitn(3, ':').skip(1);
        let (controllers, path) = (fields.next()?, fields.next()?);
        Some((controllers, path.to_owned()))
    });
    lines
        .flat_map(|(controllers, path)| {
            if controllers.is_empty() {
                // Version 2, alone or beside version 1.
                let place = |hierarchy| (hierarchy, "memory.max", path.clone());
                vec![place("sys/fs/cgroup"), place("sys/fs/cgroup/unified")]
            } else if controllers.split(',').any(|name| name == "memory") {
                let file = "memory.limit_in_bytes";
                vec![("sys/fs/cgroup/memory", file, path)]
            } else {
                Vec::new()
            }
        })
        .collect()
}

/// The least bound from a group up to the top of what is seen of its hierarchy. What a container does not see of the path
/// is left out.
fn least(root: &Path, hierarchy: &str, file: &str, path: &str) -> Option<u64> {
    let top = Path::new(hierarchy);
    let names = Path::new(path).components().filter_map(|part| match part {
        Component::Normal(name) => Some(name),
        // Above what this process may see.
        Component::ParentDir | Component::CurDir | Component::RootDir | Component::Prefix(_) => {
            None
        }
    });
    let own = names.fold(top.to_owned(), |path, name| path.join(name));
    own.ancestors()
        .take_while(|group| group.starts_with(top))
        .filter_map(|group| text(root, &group.join(file)))
        .filter_map(|text| text.trim().parse().ok())
        .filter(|bound| *bound < UNBOUNDED_V1)
        .min()
}

fn text(root: &Path, path: &Path) -> Option<String> {
    let mut text = String::new();
    let file = File::open(root.join(path)).ok()?;
    file.take(FILE_BYTES_MAX).read_to_string(&mut text).ok()?;
    Some(text)
}

/// Gives memory that was freed back to the system: after a whole fleet was read, half as much as it takes was used for a
/// moment, and would stay resident. It walks over the allocator's pages: not for what happens often.
pub fn give_back() {
    // SAFETY: it touches nothing but the allocator's own, whether or not it is the one in use.
    unsafe { libmimalloc_sys::mi_collect(true) }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GIB: u64 = 1 << 30;

    /// What is allowed where these files are all that there is.
    fn check(files: &[(&str, &str)], expected: Option<(u64, bool)>) {
        let root = tempfile::tempdir().unwrap();
        for (path, text) in files {
            let path = root.path().join(path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        }
        let expected = expected.map(|(bytes, by_group)| Allowed { bytes, by_group });
        assert_eq!(allowed(root.path()), expected, "{files:?}");
    }

    #[test]
    fn the_least_of_host_and_groups_counts() {
        let host = (
            "proc/meminfo",
            "MemTotal:        4194304 kB\nMemFree: 1 kB\n",
        );
        let own = ("proc/self/cgroup", "0::/system.slice/ringbeam.service\n");
        let at = |path: &'static str, text: &'static str| (path, text);
        check(&[], None);
        check(&[host], Some((4 * GIB, false)));
        check(&[host, own], Some((4 * GIB, false)));
        // The group itself, or any above it.
        let service = "sys/fs/cgroup/system.slice/ringbeam.service/memory.max";
        let slice = "sys/fs/cgroup/system.slice/memory.max";
        check(
            &[host, own, at(service, "max\n"), at(slice, "max\n")],
            Some((4 * GIB, false)),
        );
        check(
            &[host, own, at(service, "67108864\n")],
            Some((64 << 20, true)),
        );
        check(
            &[
                host,
                own,
                at(service, "2147483648\n"),
                at(slice, "1073741824\n"),
            ],
            Some((GIB, true)),
        );
        // More than there is bounds nothing.
        check(
            &[host, own, at(service, "8589934592\n")],
            Some((4 * GIB, false)),
        );
        check(&[own, at(service, "8589934592\n")], Some((8 * GIB, true)));
    }

    #[test]
    fn a_container_sees_the_end_of_its_path_alone() {
        let host = ("proc/meminfo", "MemTotal: 4194304 kB\n");
        let bound = ("sys/fs/cgroup/memory.max", "1073741824");
        for path in ["0::/\n", "0::/../..\n", "0::/docker/0123/of/the/host\n"] {
            check(
                &[host, ("proc/self/cgroup", path), bound],
                Some((GIB, true)),
            );
        }
    }

    #[test]
    fn groups_of_version_1_count_as_well() {
        let host = ("proc/meminfo", "MemTotal: 4194304 kB\n");
        let own = (
            "proc/self/cgroup",
            "5:cpu,cpuacct:/a\n4:memory:/a/b\n1:name=systemd:/a\n0::/a\n",
        );
        let at = |path: &'static str, text: &'static str| (path, text);
        let (own_bound, above) = (
            "sys/fs/cgroup/memory/a/b/memory.limit_in_bytes",
            "sys/fs/cgroup/memory/a/memory.limit_in_bytes",
        );
        let unbounded = "9223372036854771712\n";
        check(
            &[host, own, at(own_bound, unbounded)],
            Some((4 * GIB, false)),
        );
        check(
            &[
                host,
                own,
                at(own_bound, unbounded),
                at(above, "1073741824\n"),
            ],
            Some((GIB, true)),
        );
        // The unified hierarchy beside it.
        let unified = "sys/fs/cgroup/unified/a/memory.max";
        check(
            &[host, own, at(above, "1073741824"), at(unified, "536870912")],
            Some((GIB / 2, true)),
        );
    }

    #[test]
    fn what_cannot_be_understood_bounds_nothing() {
        let host = ("proc/meminfo", "MemTotal: 4194304 kB\n");
        for text in ["", "::", "0:", "nothing", "0::relative"] {
            let bound = ("sys/fs/cgroup/relative/memory.max", "what?");
            check(
                &[host, ("proc/self/cgroup", text), bound],
                Some((4 * GIB, false)),
            );
        }
        check(&[("proc/meminfo", "MemTotal: many kB\n")], None);
    }
}
