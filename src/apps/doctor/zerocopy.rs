//! Whether zero-copy is asked for, and why; and whether the driver then kept to it.

use super::Finding;
use crate::api::{Caps, Mode, Nic, XdpConfig, ZerocopyChoice};

/// What would be chosen for this interface, without opening it.
pub fn choose(nic: &Nic, xdp: &XdpConfig) -> ZerocopyChoice {
    ZerocopyChoice::of(nic, xdp.mtu.map_or(nic.mtu, usize::from))
}

/// Says it.
pub fn explain(choice: &ZerocopyChoice, mode: Mode) -> Finding {
    let (why, check) = (&choice.why, "zero-copy");
    match (mode, choice.zerocopy) {
        (Mode::Auto, true) => Finding::ok(check, format!("asked for: {why}")),
        (Mode::Auto, false) if choice.possible => {
            Finding::ok(check, format!("not asked for: {why}; --mode zerocopy tries it nonetheless"))
        }
        (Mode::Auto, false) => Finding::ok(check, format!("not asked for: {why}")),
        (Mode::Zerocopy, true) => Finding::ok(check, format!("asked for, as auto would: {why}")),
        (Mode::Zerocopy, false) => {
            Finding::warn(check, format!("asked for, where auto would copy: {why}"), "leave out --mode zerocopy")
        }
        (Mode::Copy | Mode::Skb, true) => {
            Finding::ok(check, format!("not asked for, since --mode {mode} says so; auto would: {why}"))
        }
        (Mode::Copy | Mode::Skb, false) => Finding::ok(check, format!("not asked for, nor would auto: {why}")),
    }
}

/// The mode that was granted, where it is less than what `auto` expected.
pub fn missed(choice: &ZerocopyChoice, mode: Mode, caps: &Caps) -> Option<Finding> {
    let missed = mode == Mode::Auto && choice.zerocopy && caps.mode != "zerocopy";
    missed.then(|| {
        let step = "look what the driver says: dmesg | tail";
        let mend = choice.needs.as_ref().map_or(step.to_owned(), |needs| format!("it needs {needs}"));
        Finding::warn("zero-copy", format!("asked for and not granted, so the mode is {}", caps.mode), mend)
    })
}

#[cfg(test)]
mod tests {
    use super::super::Level;
    use super::*;
    use crate::base::MacAddr;

    fn choice(zerocopy: bool, possible: bool) -> ZerocopyChoice {
        let needs = Some("`ethtool -K eth1 rx-gro-hw off`".into());
        ZerocopyChoice { zerocopy, why: "driver x is like this (source)".into(), possible, needs }
    }

    #[test]
    fn each_choice_is_told_with_its_reason_and_the_way_around() {
        for (mode, zerocopy, possible, level, words) in [
            (Mode::Auto, true, true, Level::Ok, "asked for: driver x is like this (source)"),
            (Mode::Auto, false, true, Level::Ok, "(source); --mode zerocopy tries it nonetheless"),
            (Mode::Auto, false, false, Level::Ok, "not asked for: driver x is like this (source)"),
            (Mode::Zerocopy, true, true, Level::Ok, "asked for, as auto would: driver x"),
            (Mode::Zerocopy, false, true, Level::Warn, "where auto would copy: driver x"),
            (Mode::Copy, true, true, Level::Ok, "since --mode copy says so; auto would: driver x"),
            (Mode::Skb, false, false, Level::Ok, "nor would auto: driver x"),
        ] {
            let finding = explain(&choice(zerocopy, possible), mode);
            assert!(finding.level == level && finding.what.contains(words), "{words}: {finding:?}");
        }
        let never = explain(&choice(false, false), Mode::Auto);
        assert!(!never.what.contains("nonetheless"), "it would be in vain: {never:?}");
    }

    #[test]
    fn a_refusal_is_told_with_what_is_needed() {
        let caps = |mode| Caps {
            mac: MacAddr::zero(),
            name: "eth1 queue 0".into(),
            mode,
            mtu: 1500,
            frames: 1,
            rx_reserve: 1,
            speed_bps: None,
        };
        let told = missed(&choice(true, true), Mode::Auto, &caps("copy")).unwrap();
        assert!(told.what.contains("the mode is copy") && told.level == Level::Warn, "{told:?}");
        assert_eq!(told.mend.as_deref(), Some("it needs `ethtool -K eth1 rx-gro-hw off`"));
        let without = missed(&ZerocopyChoice { needs: None, ..choice(true, true) }, Mode::Auto, &caps("copy")).unwrap();
        assert!(without.mend.unwrap().contains("dmesg"));
        assert_eq!(missed(&choice(true, true), Mode::Auto, &caps("zerocopy")), None);
        assert_eq!(missed(&choice(true, true), Mode::Copy, &caps("copy")), None);
        assert_eq!(missed(&choice(false, true), Mode::Auto, &caps("copy")), None);
    }
}
