//! Host: what this machine offers: descriptors, processors, io_uring.

use std::io;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use rustix::thread::{CpuSet, sched_getaffinity};

use super::ring::{Features, features};

/// Oldest kernel that is served, as major and minor version.
pub const KERNEL_MIN: (u32, u32) = (6, 1);

/// Stands for no limit at all.
const UNLIMITED: u64 = 1 << 32;

/// Why this host cannot run the engine.
#[derive(Debug, thiserror::Error)]
pub enum Unsuitable {
    /// io_uring is not there, or not for this process.
    #[error("io_uring is not available: {cause} ({error})")]
    Ring {
        /// The likely cause, and what mends it.
        cause: &'static str,
        /// What the kernel said.
        error: io::Error,
    },
    /// The kernel is too old.
    #[error("kernel {found} is too old: {}.{} or newer is needed", KERNEL_MIN.0, KERNEL_MIN.1)]
    Kernel {
        /// Its release.
        found: String,
    },
}

/// Checks the kernel's version and that rings can be set up as the engine needs them, and says what they can do
/// beyond that.
///
/// # Errors
/// With the likely cause when it cannot.
pub fn check() -> Result<Features, Unsuitable> {
    let release = rustix::system::uname()
        .release()
        .to_string_lossy()
        .into_owned();
    let mut numbers = release
        .split(['.', '-'])
        .map_while(|part| part.parse::<u32>().ok());
    let version = (
        numbers.next().unwrap_or_default(),
        numbers.next().unwrap_or_default(),
    );
    if version < KERNEL_MIN {
        return Err(Unsuitable::Kernel { found: release });
    }
    let built = monoio::RuntimeBuilder::<monoio::IoUringDriver>::new()
        .with_entries(8)
        .build();
    // The relay's ring wants more than monoio's.
    match built.and_then(|_| features()) {
        Ok(features) => Ok(features),
        Err(error) => Err(Unsuitable::Ring {
            cause: likely_cause(&error),
            error,
        }),
    }
}

fn likely_cause(error: &io::Error) -> &'static str {
    match rustix::io::Errno::from_io_error(error) {
        Some(rustix::io::Errno::PERM | rustix::io::Errno::ACCESS) => {
            "it is forbidden here, by `sysctl kernel.io_uring_disabled` or by the seccomp filter of a \
             container; set the former to 0 or run the container with io_uring allowed"
        }
        Some(rustix::io::Errno::NOSYS) => {
            "the kernel was built without it, or a seccomp filter hides it"
        }
        Some(rustix::io::Errno::NOMEM) => {
            "locked memory ran out; raise `ulimit -l` (LimitMEMLOCK in systemd)"
        }
        _ => "the kernel refused to set up a ring",
    }
}

/// Raises the descriptor limit to the hard one and returns it.
///
/// # Errors
/// When the kernel refuses.
pub fn raise_descriptor_limit() -> io::Result<u64> {
    let limit = getrlimit(Resource::Nofile);
    let hard = limit.maximum;
    setrlimit(
        Resource::Nofile,
        Rlimit {
            current: hard,
            maximum: hard,
        },
    )?;
    Ok(hard.unwrap_or(UNLIMITED))
}

/// Has this process use small pages alone: with huge ones a session that touches a little of several makes
/// all of them resident. That the kernel refuses is no error.
pub fn use_small_pages() {
    // SAFETY: the request takes integers alone.
    let _ = unsafe { libc::prctl(libc::PR_SET_THP_DISABLE, 1, 0, 0, 0) };
}

/// The processors that this process may use.
///
/// # Errors
/// When the kernel refuses.
pub fn processors() -> io::Result<Vec<usize>> {
    let set = sched_getaffinity(None)?;
    Ok((0..CpuSet::MAX_CPU)
        .filter(|index| set.is_set(*index))
        .collect())
}
