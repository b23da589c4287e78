//! Whose process it is: `service.name` and `service.instance.id`, from what the process publishes, else
//! from the environment that OpenTelemetry's SDKs read.

use super::{Mapping, Memory, read_context};

/// Who a process says it is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Identity {
    /// `service.name`, or empty.
    pub service: String,
    /// `service.instance.id`, or empty.
    pub instance: String,
}

/// What can be found out about a process.
pub fn identify(pid: u32, mappings: &[Mapping]) -> Identity {
    let context = read_context(pid, mappings);
    let text = |key: &str| context.as_ref().and_then(|context| context.text(key)).unwrap_or_default().to_owned();
    let published = Identity { service: text("service.name"), instance: text("service.instance.id") };
    if !published.service.is_empty() {
        return published;
    }
    of_environment(&Memory::of(pid).environment())
}

/// `OTEL_SERVICE_NAME` wins over `service.name` in `OTEL_RESOURCE_ATTRIBUTES`.
fn of_environment(environment: &[u8]) -> Identity {
    let variable = |name: &str| {
        let mut all = environment.split(|byte| *byte == 0).filter_map(|line| std::str::from_utf8(line).ok()?.split_once('='));
        all.find(|(key, _)| *key == name).map(|(_, value)| value)
    };
    let attributes = variable("OTEL_RESOURCE_ATTRIBUTES").unwrap_or_default();
    let attribute = |name: &str| {
        let pair = attributes.split(',').filter_map(|pair| pair.split_once('=')).find(|(key, _)| key.trim() == name);
        pair.map_or_else(String::new, |(_, value)| value.trim().to_owned())
    };
    let named = variable("OTEL_SERVICE_NAME").map(str::to_owned).filter(|name| !name.is_empty());
    Identity { service: named.unwrap_or_else(|| attribute("service.name")), instance: attribute("service.instance.id") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_environment_names_the_service() {
        let identity = of_environment(b"A=1\0OTEL_RESOURCE_ATTRIBUTES=service.name=cart, service.instance.id=cart-1\0B=2\0");
        assert_eq!(identity, Identity { service: "cart".into(), instance: "cart-1".into() });
        let identity = of_environment(b"OTEL_RESOURCE_ATTRIBUTES=service.name=cart\0OTEL_SERVICE_NAME=pay\0");
        assert_eq!(identity.service, "pay");
        assert_eq!(of_environment(b"\xff\0\0PATH"), Identity::default());
    }
}
