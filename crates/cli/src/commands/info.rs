//! `info`.

use clap::Args;
use coracle_docker::human;
use coracle_docker::system::InfoResponse;
use serde_json::json;

use crate::app::Run;
use crate::context::Context;
use crate::error::{Error, Result};
use crate::output::{Format, warn};

#[derive(Args, Debug)]
pub(crate) struct InfoArgs {
    /// table, json, yaml, or a template
    #[arg(
        short = 'f',
        long,
        value_name = "FORMAT",
        default_value = "",
        hide_default_value = true
    )]
    format: String,
}

impl Run for InfoArgs {
    async fn run(self, context: &Context) -> Result<u8> {
        let format = Format::parse(&self.format)?;
        let client = context.client().await?;
        let info = client.info().await?;
        let mut value = serde_json::to_value(&info)
            .map_err(|error| Error::usage(format!("info makes no sense: {error}")))?;
        value["ClientInfo"] = json!({
            "Version": env!("CARGO_PKG_VERSION"),
            "Host": client.host().to_string(),
        });
        format.show_value(&value, || table(&info, &client.host().to_string()))?;
        if format.is_table() {
            for warning in &info.warnings {
                warn(warning);
            }
        }
        Ok(0)
    }
}

fn table(info: &InfoResponse, host: &str) -> String {
    let mut shown = format!(
        "Client:\n Version: {}\n Host: {host}\n\nServer:\n",
        env!("CARGO_PKG_VERSION")
    );
    let mut line = |depth: usize, name: &str, value: &str| {
        shown += &format!("{}{name}: {value}\n", " ".repeat(depth));
    };
    line(1, "Containers", &info.containers.to_string());
    line(2, "Running", &info.containers_running.to_string());
    line(2, "Paused", &info.containers_paused.to_string());
    line(2, "Stopped", &info.containers_stopped.to_string());
    line(1, "Images", &info.images.to_string());
    line(1, "Server Version", &info.server_version);
    line(1, "Storage Driver", &info.driver);
    for [name, value] in &info.driver_status {
        line(2, name, value);
    }
    line(1, "Logging Driver", &info.logging_driver);
    line(1, "Cgroup Driver", &info.cgroup_driver);
    line(1, "Cgroup Version", &info.cgroup_version);
    line(1, "Plugins", "");
    line(2, "Volume", &info.plugins.volume.join(" "));
    line(2, "Network", &info.plugins.network.join(" "));
    line(2, "Log", &info.plugins.log.join(" "));
    let runtimes: Vec<&str> = info.runtimes.keys().map(String::as_str).collect();
    line(1, "Runtimes", &runtimes.join(" "));
    line(1, "Default Runtime", &info.default_runtime);
    let machines = &info.machines;
    if machines.accelerator.is_empty() {
        line(1, "Virtual Machines", &machines.unavailable);
    } else {
        line(1, "Virtual Machines", "");
        let accelerator = format!("{} ({})", machines.accelerator, machines.reason);
        line(2, "Accelerator", &accelerator);
        line(2, "Kernel", &machines.kernel);
    }
    if !machines.architectures.is_empty() {
        line(2, "Architectures", &machines.architectures.join(" "));
    }
    let dns = &info.host_dns;
    if !dns.address.is_empty() {
        let why = match dns.unavailable.as_str() {
            "" => String::new(),
            why => format!(" ({why})"),
        };
        let shown = format!("{} at {}{why}", dns.domain, dns.address);
        line(1, "Host DNS", &shown);
    }
    line(1, "Init Binary", &info.init_binary);
    line(1, "Security Options", "");
    for option in &info.security_options {
        // `name=seccomp,profile=builtin`
        let mut parts = option.split(',');
        let name = parts.next().unwrap_or_default();
        line(2, "-", name.strip_prefix("name=").unwrap_or(name));
        for (key, value) in parts.filter_map(|part| part.split_once('=')) {
            line(3, key, value);
        }
    }
    line(1, "Kernel Version", &info.kernel_version);
    line(1, "Operating System", &info.operating_system);
    line(1, "OSType", &info.os_type);
    line(1, "Architecture", &info.architecture);
    line(1, "CPUs", &info.ncpu.to_string());
    line(1, "Total Memory", &human::binary_size(info.mem_total));
    line(1, "Name", &info.name);
    line(1, "ID", &info.id);
    line(1, "Root Dir", &info.docker_root_dir);
    line(1, "Debug Mode", &info.debug.to_string());
    if !info.labels.is_empty() {
        line(1, "Labels", &info.labels.join(" "));
    }
    line(
        1,
        "Live Restore Enabled",
        &info.live_restore_enabled.to_string(),
    );
    line(1, "Insecure Registries", "");
    for name in info.registry_config.index_configs.values() {
        if !name.secure {
            line(2, "-", &name.name);
        }
    }
    for cidr in &info.registry_config.insecure_registry_cidrs {
        line(2, "-", cidr);
    }
    if !info.default_address_pools.is_empty() {
        line(1, "Default Address Pools", "");
        for pool in &info.default_address_pools {
            line(2, "-", &format!("{}, size {}", pool.base, pool.size));
        }
    }
    if !info.registry_config.mirrors.is_empty() {
        line(
            1,
            "Registry Mirrors",
            &info.registry_config.mirrors.join(" "),
        );
    }
    shown.replace("-: ", "- ").replace(": \n", ":\n")
}
