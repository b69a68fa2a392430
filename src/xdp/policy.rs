//! Which drivers `--mode auto` trusts with zero-copy, and from which kernel on; everything else is copied.
//!
//! A driver that grants zero-copy is not yet one that does it well: some lost frames, stopped for good or wrote into
//! foreign memory. So each line has its source: the commit that brought it or mended it, or the report that keeps it
//! off. A driver without one is not on the list.

use super::nic::Nic;
use crate::base::kernel;

/// What is known of a driver.
struct Driver {
    /// As ethtool tells it.
    name: &'static str,
    zerocopy: Zerocopy,
    /// Largest MTU that it receives whole in zero-copy mode, if less than what the pool's chunks hold.
    mtu_most: Option<usize>,
    /// What to look at if it refuses; `IFACE` stands for the interface.
    needs: Option<&'static str>,
    source: &'static str,
}

/// What is known of a driver's zero-copy.
enum Zerocopy {
    /// Trusted from this kernel on.
    Since((u32, u32)),
    /// The same, but drivers of this name are also given away outside of the kernel, with versions of their own. Those
    /// are not trusted: one lacks mends that the kernel's has had for years, another all of XDP (xdp-tutorial 465).
    KernelsOwnSince((u32, u32)),
    /// It has it, or has had it, and this is why it is left out.
    Bad(&'static str),
    /// No kernel has it.
    Never,
}
use Zerocopy::{Bad, KernelsOwnSince, Never, Since};

/// MTU for drivers that count receive buffers in KiB: 3 of a chunk's 3840 bytes' worth, less header and tag. What is
/// longer they cut without a word.
const KIB: Option<usize> = Some(3072 - 18);

/// Names, kernels and reasons, the trusted ones first.
const DRIVERS: [Driver; 13] = [
    // Firedancer chooses by a test bed of kernels; so much for these two. One race of mlx5's was found only in 2026
    // (netdev 20260513064613.334602-1-tariqt@nvidia.com): it takes an interrupt that moves to another CPU.
    Driver {
        needs: Some("`ethtool -K IFACE rx-gro-hw off lro off`"),
        ..line("mlx5_core", KernelsOwnSince((6, 1)), "test bed of firedancer PR 10610")
    },
    line("i40e", KernelsOwnSince((5, 19)), "test bed of firedancer PR 11105"),
    // Granted from 6.13 on (37e0ca657a3d). Until 6.19 and early 6.18.y it could hang where its fill ring ran dry while
    // XDP came or went.
    Driver {
        needs: Some("`iommu_platform=on,disable-legacy=on` for the device, and `ethtool -K IFACE rx-gro-hw off`"),
        ..line("virtio_net", Since((6, 18)), "linux fcdef3bcbb2c; measured on 6.18.15 and 7.2.12")
    },
    // Granted from 6.14 on (2c6196013f84). It went on polling for nothing until 6.17 (3b7c13dfdcc2), woke up the wrong
    // interrupt until 7.0 (d4c13ab36273), and after a kill -9 never sent again until b1e067240379.
    Driver {
        mtu_most: KIB,
        ..line("igb", KernelsOwnSince((7, 1)), "linux d4c13ab36273 and b1e067240379; measured on 7.2.12")
    },
    // Granted from 5.14 on (9acf59a752d4). It lost frames with their completions until 6.15 (d931cf9b38da), woke up
    // the wrong interrupt until 7.0 (554a1c34c11a), and after a kill -9 never went down until 5ffab5b9589c.
    Driver {
        mtu_most: KIB,
        ..line("igc", KernelsOwnSince((7, 2)), "linux d931cf9b38da, 554a1c34c11a and 5ffab5b9589c")
    },
    line(
        "ice",
        Bad("frames for the kernel can overwrite its memory, and under load it panics"),
        "netdev 20260512152658.2818805-1-lorenz@monogon.tech; firedancer PR 11245; intel/ethernet-linux-ice issue 59",
    ),
    line(
        "idpf",
        Bad("frames for the kernel take the way on which ice overwrites its memory"),
        "netdev 20260512152658.2818805-1-lorenz@monogon.tech",
    ),
    line(
        "ena",
        Bad("Amazon's driver reset the device, may have corrupted memory, and was slower than copying; the kernel's \
             own has none"),
        "amzn/amzn-drivers issues 221 and 330",
    ),
    Driver {
        mtu_most: KIB,
        ..line(
            "ixgbe",
            Bad("frames stayed in it until the program ended (X540), and a host got stuck with it, not without (X550)"),
            "xdp-project/xdp-tutorial issue 471; anza-xyz/agave issue 13054",
        )
    },
    line(
        "stmmac",
        Bad("a queue whose fill ring has run dry may never receive again"),
        "analogdevicesinc/linux issue 3517",
    ),
    line("veth", Never, "no XDP_SETUP_XSK_POOL in linux 6.18, drivers/net/veth.c"),
    line("tun", Never, "no XDP_SETUP_XSK_POOL in linux 6.18, drivers/net/tun.c"),
    line("bonding", Never, "no XDP_SETUP_XSK_POOL in linux 6.18, drivers/net/bonding/bond_main.c"),
];

const fn line(name: &'static str, zerocopy: Zerocopy, source: &'static str) -> Driver {
    Driver { name, zerocopy, mtu_most: None, needs: None, source }
}

/// What `--mode auto` makes of an interface that has native XDP.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Choice {
    /// Whether zero-copy is tried. Where the driver then refuses, frames are copied.
    pub zerocopy: bool,
    /// Why, with the source.
    pub why: String,
    /// Whether `--mode zerocopy` could succeed at all.
    pub possible: bool,
    /// What to look at where the driver refuses.
    pub needs: Option<String>,
}

impl Choice {
    /// For an interface whose frames carry up to `mtu` bytes, and the kernel that runs.
    pub fn of(nic: &Nic, mtu: usize) -> Choice {
        let release = nix::sys::utsname::uname().map(|name| name.release().to_string_lossy().into_owned());
        Choice::on(&release.unwrap_or_default(), nic, mtu)
    }

    /// For a kernel of this release.
    fn on(release: &str, nic: &Nic, mtu: usize) -> Choice {
        let possible = known(&nic.driver).is_none_or(|driver| !matches!(driver.zerocopy, Never));
        let (zerocopy, why) = match judge(release, nic, mtu) {
            Ok(why) => (true, why),
            Err(why) => (false, why),
        };
        Choice { zerocopy, why, possible, needs: needs(nic) }
    }
}

/// Why a driver is trusted, or why it is not.
fn judge(release: &str, nic: &Nic, mtu: usize) -> Result<String, String> {
    let name = &nic.driver;
    let driver = known(name).ok_or_else(|| format!("driver {name} is not on the list of those that do it well"))?;
    let source = driver.source;
    let (least, own) = match driver.zerocopy {
        Since(least) => (least, true),
        KernelsOwnSince(least) => (least, is_kernels_own(&nic.driver_version, release)),
        Bad(why) => return Err(format!("driver {name} is left out: {why} ({source})")),
        Never => return Err(format!("driver {name} has no zero-copy in any kernel")),
    };
    let trusted = format!("driver {name} is trusted with zero-copy from Linux {}.{} on ({source})", least.0, least.1);
    match kernel::version(release) {
        None => Err(format!("{trusted}, and {release:?} is no version that can be read")),
        Some(version) if version < least => Err(format!("{trusted}, and this is {release}")),
        Some(_) if !own => {
            Err(format!("{trusted}, but the kernel's own, and this is driver version {:?}", nic.driver_version))
        }
        Some(_) if driver.mtu_most.is_some_and(|most| mtu > most) => {
            Err(format!("driver {name} receives MTUs up to {} whole, and this is {mtu}", driver.mtu_most.unwrap_or(0)))
        }
        Some(_) => Ok(format!("{trusted}, and this is {release}")),
    }
}

/// Whether a driver tells the kernel's release as its version, as the kernel's own Intel and Mellanox drivers do
/// since 5.11. It is told cut to 31 bytes.
fn is_kernels_own(driver_version: &str, release: &str) -> bool {
    driver_version == release || driver_version.len() >= 31 && release.starts_with(driver_version)
}

/// What zero-copy needs besides driver and kernel, if anything is known.
pub(super) fn needs(nic: &Nic) -> Option<String> {
    Some(known(&nic.driver)?.needs?.replace("IFACE", &nic.name))
}

/// Largest MTU that a driver receives whole in zero-copy mode, if less than what the pool's chunks hold.
pub(super) fn mtu_most(driver: &str) -> Option<usize> {
    known(driver)?.mtu_most
}

fn known(driver: &str) -> Option<&'static Driver> {
    DRIVERS.iter().find(|known| known.name == driver)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn nic(driver: &str, driver_version: &str) -> Nic {
        Nic {
            name: "eth1".into(),
            index: 1,
            mac: None,
            up: true,
            mtu: 1500,
            driver: driver.into(),
            driver_version: driver_version.into(),
            rx_queues: None,
            tx_queues: None,
            speed_bps: None,
        }
    }

    /// On a kernel of that release, with the kernel's own driver.
    fn on(driver: &str, release: &str) -> Choice {
        Choice::on(release, &nic(driver, release), 1500)
    }

    #[test]
    fn each_line_has_a_source_and_its_reason() {
        for (at, driver) in DRIVERS.iter().enumerate() {
            let name = driver.name;
            assert!(DRIVERS[..at].iter().all(|other| other.name != name), "{name} stands there twice");
            let findable =
                ["linux ", "firedancer PR ", "netdev ", " issue"].iter().any(|kind| driver.source.contains(kind));
            assert!(findable && driver.source.len() > 15, "{name}: {:?} can't be looked up", driver.source);
            if let Bad(why) = driver.zerocopy {
                assert!(why.len() > 20, "{name} is left out without a reason");
            }
            // `xdp` asks for kernels from 5.18 on in any case.
            if let Since(least) | KernelsOwnSince(least) = driver.zerocopy {
                assert!((5, 18) < least && least < (8, 0), "{name} from {least:?} on");
            }
        }
    }

    #[test]
    fn a_driver_is_trusted_from_its_kernel_on() {
        for (driver, before, from) in [
            ("mlx5_core", "5.15.0-91-generic", "6.1.0-18-amd64"),
            ("i40e", "5.4", "5.19.0"),
            ("virtio_net", "6.9.12", "6.18.15+deb13-cloud-amd64"),
            ("virtio_net", "6.13.1", "7.2.12"),
            ("igb", "6.18.15+deb13-amd64", "7.1.0"),
            ("igc", "7.1.9", "7.10.1"),
        ] {
            let (early, late) = (on(driver, before), on(driver, from));
            assert!(!early.zerocopy && early.possible, "{early:?}");
            assert!(early.why.contains(&format!("this is {before}")), "{}", early.why);
            assert!(late.zerocopy && late.why.contains("trusted with zero-copy from Linux"), "{late:?}");
        }
        let unreadable = on("i40e", "rolling");
        assert!(!unreadable.zerocopy && unreadable.why.contains("\"rolling\" is no version"), "{unreadable:?}");
    }

    #[test]
    fn known_bad_and_unknown_drivers_are_copied_and_told_why() {
        for (driver, words) in [
            ("ice", "overwrite its memory"),
            ("ice", "firedancer PR 11245"),
            ("ena", "reset the device"),
            ("ena", "amzn/amzn-drivers"),
            ("ixgbe", "X540"),
            ("stmmac", "never receive again"),
            ("gve", "driver gve is not on the list"),
            ("", "not on the list"),
        ] {
            let choice = on(driver, "99.0");
            assert!(!choice.zerocopy && choice.possible && choice.why.contains(words), "{words}: {choice:?}");
        }
        for driver in ["veth", "tun", "bonding"] {
            let choice = on(driver, "99.0");
            assert!(!choice.zerocopy && !choice.possible && choice.why.contains("in any kernel"), "{choice:?}");
        }
    }

    #[test]
    fn a_driver_from_elsewhere_is_not_the_one_on_the_list() {
        let with = |driver, version, release| Choice::on(release, &nic(driver, version), 1500);
        let foreign = with("i40e", "2.17.4", "6.1.0-37-amd64");
        assert!(!foreign.zerocopy && foreign.why.contains("this is driver version \"2.17.4\""), "{foreign:?}");
        assert!(!with("i40e", "", "6.1.0-37-amd64").zerocopy);
        assert!(with("virtio_net", "1.0.0", "6.18.15").zerocopy, "has a version of its own and no other source");
        let long = "6.12.0-55.12.1.el10_0.x86_64+rt-debug";
        assert!(with("i40e", &long[..31], long).zerocopy, "ethtool has room for 31 bytes");
        assert!(!with("i40e", &long[..30], long).zerocopy);
    }

    #[test]
    fn frames_that_a_driver_would_cut_are_copied() {
        let with = |driver, mtu| Choice::on("7.2.12", &nic(driver, "7.2.12"), mtu);
        assert!(with("igb", 3054).zerocopy && with("i40e", 3400).zerocopy);
        let cut = with("igb", 3055);
        assert!(!cut.zerocopy && cut.why.contains("up to 3054 whole, and this is 3055"), "{cut:?}");
        assert_eq!(mtu_most("ixgbe"), Some(3054));
    }

    #[test]
    fn what_else_it_needs_names_the_interface() {
        let needs = |driver| on(driver, "7.2.12").needs.unwrap_or_default();
        assert!(needs("virtio_net").contains("iommu_platform=on") && needs("virtio_net").contains("-K eth1 "));
        assert_eq!(needs("i40e"), "");
    }
}
