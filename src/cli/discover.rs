//! `farwire discover`.

use serde_json::json;

use super::exit::{self, Failure};
use super::flags;
use super::privilege::{Files, Rights};
use super::show;
use super::stop::Stop;

/// Lists who answers.
pub fn run(flags: &flags::Discover, stop: &Stop) -> Result<(), Failure> {
    let rights = Rights::new(Files::None, None, stop)?;
    let endpoint = super::open::endpoint(&super::open::small(&flags.common), None, rights)?;
    let found = endpoint.discover(flags.wait).map_err(Failure::local)?;
    if flags.common.json {
        let hosts: Vec<_> = found
            .iter()
            .map(|host| {
                json!({
                    "mac": host.mac.to_string(),
                    "name": host.name,
                    "service": host.service,
                    "mtu": host.mtu,
                })
            })
            .collect();
        show::json(&json!({ "command": "discover", "hosts": hosts }));
    } else if !found.is_empty() {
        show::out(format!("{:<17}  {:<32}  {:<8}  {:>5}", "ADDRESS", "NAME", "SERVICE", "MTU"));
        for host in &found {
            show::out(format!("{}  {:<32}  {:<8}  {:>5}", host.mac, host.name, host.service, host.mtu));
        }
    }
    if found.is_empty() {
        let link = &endpoint.caps().name;
        let message = format!(
            "nobody answers on {link}; is `farwire recv` running on the other end, on the same EtherType and VLAN?"
        );
        return Err(Failure::new(exit::NO_PEER, message));
    }
    Ok(())
}
