//! What keeps other programs from holding the emulator up.

use anyhow::{Context, ensure};
use core_affinity::CoreId;
use nix::sys::prctl::set_timerslack;
use thread_priority::{
    RealtimeThreadSchedulePolicy, ThreadPriority, ThreadPriorityValue, ThreadSchedulePolicy,
    set_thread_priority_and_policy, thread_native_id,
};

use crate::options::Cpu;

/// Stays on a CPU.
///
/// # Errors
/// If there is no such CPU.
pub fn stay_on(cpu: Cpu) -> anyhow::Result<()> {
    let cpu = match cpu {
        Cpu::Any => return Ok(()),
        Cpu::This(cpu) => CoreId { id: cpu },
        Cpu::Last => match core_affinity::get_core_ids().unwrap_or_default().last() {
            Some(last) => *last,
            None => return Ok(()),
        },
    };
    let there = core_affinity::get_core_ids().is_none_or(|all| all.contains(&cpu));
    ensure!(there && core_affinity::set_for_current(cpu), "cannot run on CPU {}: say one that `nproc` counts", cpu.id);
    Ok(())
}

/// Lets timers end when they should, not up to 50 µs later as is usual, to be ended together with others.
///
/// # Errors
/// If the kernel does not allow it.
pub fn punctual_timers() -> anyhow::Result<()> {
    set_timerslack(1).context("setting the timer slack")
}

/// Real-time priority of that height, by turns with nobody (SCHED_FIFO): the thread runs as soon as it wants to. The
/// kernel keeps 5 % of each CPU for the others, whatever it does.
///
/// # Errors
/// If the process lacks CAP_SYS_NICE, or its control group has no real-time budget.
pub fn real_time(priority: u8) -> anyhow::Result<()> {
    let value = ThreadPriorityValue::try_from(priority).map_err(anyhow::Error::msg)?;
    let policy = ThreadSchedulePolicy::Realtime(RealtimeThreadSchedulePolicy::Fifo);
    set_thread_priority_and_policy(thread_native_id(), ThreadPriority::Crossplatform(value), policy)
        .map_err(|error| anyhow::anyhow!("{error}"))
}
