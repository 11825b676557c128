//! The machines of the fleet and how they present themselves.

use rand::Rng;
use rand::rngs::StdRng;
use reqwest::header::HeaderValue;
use serde_json::value::RawValue;

use super::cadence::REFERENCE_NPS;
use super::options::OptionsError;
use super::protocol::{VERSION, WorkerInfo};

/// Compiler, and its share in a hundred.
const COMPILERS: [(&str, u32); 2] = [("g++", 70), ("clang++", 30)];

/// Architecture, operating system, and its share in a hundred.
const ARCHES: [(&str, &str, u32); 8] = [
    ("x86-64-avx512icl", "Linux 6.8.0", 15),
    ("x86-64-vnni512", "Linux 5.15.0", 12),
    ("x86-64-avx512", "Linux 5.15.0", 10),
    ("x86-64-bmi2", "Linux 5.15.0", 30),
    ("x86-64-avx2", "Windows 10", 15),
    ("x86-64-sse41-popcnt", "Linux 4.19.0", 5),
    ("apple-silicon", "Darwin 23.1.0", 8),
    ("armv8-dotprod", "Linux 6.1.0", 5),
];

/// How many cores the machines have: (cores, weight).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MachineMix {
    /// Cores and relative frequency.
    pub cores: Vec<(u32, u32)>,
}

impl Default for MachineMix {
    fn default() -> Self {
        let cores = vec![
            (1, 8),
            (2, 8),
            (3, 10),
            (4, 12),
            (6, 8),
            (7, 12),
            (8, 12),
            (12, 6),
            (16, 9),
            (24, 4),
            (31, 5),
            (32, 3),
            (48, 1),
            (64, 2),
        ];
        Self { cores }
    }
}

impl MachineMix {
    /// All machines alike.
    pub fn uniform(cores: u32) -> Self {
        Self { cores: vec![(cores, 1)] }
    }

    /// Reads `cores[:weight],cores[:weight],...`, such as `1:3,8:5,64`.
    ///
    /// # Errors
    /// Says which part is unreadable.
    pub fn parse(text: &str) -> Result<Self, OptionsError> {
        let mut cores = Vec::new();
        for part in text.split(',') {
            let (count, weight) = part.split_once(':').unwrap_or((part, "1"));
            let (Ok(count), Ok(weight)) = (count.trim().parse(), weight.trim().parse()) else {
                return Err(OptionsError::new(format!("{part:?} in the machine mix is not cores[:weight]")));
            };
            cores.push((count, weight));
        }
        let mix = Self { cores };
        mix.check()?;
        Ok(mix)
    }

    /// # Errors
    /// When no machine can be drawn from it.
    pub fn check(&self) -> Result<(), OptionsError> {
        if self.cores.iter().any(|(cores, _)| *cores == 0) {
            return Err(OptionsError::new("a machine without cores in the machine mix"));
        }
        if self.cores.iter().all(|(_, weight)| *weight == 0) {
            return Err(OptionsError::new("the machine mix is empty"));
        }
        Ok(())
    }
}

/// Draws an index with probability proportional to its weight.
fn weighted(rng: &mut StdRng, weights: impl Iterator<Item = u32> + Clone) -> usize {
    let total: u64 = weights.clone().map(u64::from).sum();
    let mut left = rng.random_range(0..total.max(1));
    for (i, weight) in weights.enumerate() {
        let weight = u64::from(weight);
        if left < weight {
            return i;
        }
        left -= weight;
    }
    0
}

/// One machine with one worker on it.
#[derive(Debug, Clone)]
pub struct Machine {
    info: WorkerInfo,
    /// The worker as JSON, ready to be sent.
    pub json: Box<RawValue>,
    /// Value of `X-Forwarded-For`.
    pub address: HeaderValue,
    nps: f64,
    /// Whether this installation has been seen under another key: then the server may call it a duplicate.
    pub renamed: bool,
}

impl Machine {
    /// A machine drawn from the mix. `place` numbers the machines of a fleet and gives the address.
    pub fn draw(
        mix: &MachineMix,
        username: &str,
        place: usize,
        rng: &mut StdRng,
    ) -> Result<Self, OptionsError> {
        let cores = mix.cores.get(weighted(rng, mix.cores.iter().map(|c| c.1))).map_or(1, |c| c.0);
        let (compiler, _) = COMPILERS[weighted(rng, COMPILERS.iter().map(|c| c.1))];
        let (arch, uname, _) = ARCHES[weighted(rng, ARCHES.iter().map(|a| a.2))];
        let memory_per_core = [1024u64, 2048, 4096][rng.random_range(0..3)];
        let info = WorkerInfo {
            uname: uname.to_owned(),
            architecture: ["64bit".to_owned(), "ELF".to_owned()],
            concurrency: cores,
            max_memory: 1024 + memory_per_core * u64::from(cores),
            min_threads: 1,
            username: username.to_owned(),
            version: VERSION,
            python_version: [3, 12, 3],
            gcc_version: if compiler == "g++" { [13, 2, 0] } else { [18, 1, 3] },
            compiler: compiler.to_owned(),
            unique_key: fresh_key(None),
            modified: false,
            worker_arch: arch.to_owned(),
            ARCH: "?".to_owned(),
            nps: 0.0,
            near_github_api_limit: false,
        };
        // 10.x.y.z, from 10.0.0.1 on.
        let [_, a, b, c] = u32::try_from(place + 1).unwrap_or(1).to_be_bytes();
        let address = HeaderValue::from_str(&format!("10.{a}.{b}.{c}"))
            .map_err(|reason| OptionsError::new(reason.to_string()))?;
        let nps = REFERENCE_NPS * rng.random_range(0.6..1.8);
        let json = encode(&info)?;
        Ok(Self { info, json, address, nps, renamed: false })
    }

    /// Cores offered.
    pub fn cores(&self) -> u32 {
        self.info.concurrency
    }

    /// Account.
    pub fn username(&self) -> &str {
        &self.info.username
    }

    /// The key that identifies this start of the worker.
    pub fn unique_key(&self) -> &str {
        &self.info.unique_key
    }

    /// How much longer than nominal a game takes here. A slow machine scales the time control up.
    pub fn slowness(&self) -> f64 {
        REFERENCE_NPS / self.nps
    }

    /// From now on tells its speed: a worker has benched once it has begun to play.
    pub fn bench(&mut self) -> Result<(), OptionsError> {
        if self.info.nps > 0.0 {
            return Ok(());
        }
        self.info.nps = self.nps.round();
        self.info.ARCH = format!("{} (64bit POPCNT)", self.info.worker_arch);
        self.json = encode(&self.info)?;
        Ok(())
    }

    /// A new start of the worker: on the same installation, whose name stays, or on a fresh one.
    pub fn restart(&mut self, same_installation: bool) -> Result<(), OptionsError> {
        let prefix =
            same_installation.then(|| self.info.unique_key.split('-').next().unwrap_or("").to_owned());
        self.info.unique_key = fresh_key(prefix.as_deref());
        self.info.nps = 0.0;
        self.info.ARCH = "?".to_owned();
        self.renamed = same_installation;
        self.json = encode(&self.info)?;
        Ok(())
    }
}

fn encode(info: &WorkerInfo) -> Result<Box<RawValue>, OptionsError> {
    serde_json::value::to_raw_value(info).map_err(|reason| OptionsError::new(reason.to_string()))
}

/// A key of the wire's form (`spec/worker-api.md` section 2.3), keeping the first part if one is given. Never drawn
/// from the seed: two simulations of one seed must not be taken for the same workers.
fn fresh_key(prefix: Option<&str>) -> String {
    let digits = crate::sys::random::identity();
    let part = |from: usize, to: usize| digits.get(from..to).unwrap_or("").to_owned();
    let first = prefix.map_or_else(|| part(0, 8), str::to_owned);
    format!("{first}-{}-{}-{}-{}", part(8, 12), part(12, 16), part(16, 20), part(20, 32))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sys::random::seeded;

    #[test]
    fn machines_follow_the_mix_and_the_wire() {
        let mix = MachineMix::parse("1:1, 8:3").unwrap();
        let mut rng = seeded(1);
        let form = regex::Regex::new(r"^[0-9a-zA-Z]{2,8}(-[a-f0-9]{4}){3}-[a-f0-9]{12}$").unwrap();
        let mut eights = 0;
        for place in 0..1000 {
            let machine = Machine::draw(&mix, "fisher", place, &mut rng).unwrap();
            assert!(form.is_match(machine.unique_key()), "{}", machine.unique_key());
            assert!([1, 8].contains(&machine.cores()));
            eights += usize::from(machine.cores() == 8);
        }
        assert!((680..820).contains(&eights), "{eights}");
    }

    #[test]
    fn every_machine_has_its_own_address() {
        let mut seen = std::collections::HashSet::new();
        for place in 0..70_000 {
            let [_, a, b, c] = u32::try_from(place + 1).unwrap().to_be_bytes();
            assert!(seen.insert((a, b, c)));
        }
        let machine = Machine::draw(&MachineMix::uniform(1), "ab", 299, &mut seeded(1)).unwrap();
        assert_eq!(machine.address.to_str().unwrap(), "10.0.1.44");
    }

    #[test]
    fn a_restart_keeps_the_name_only_on_the_same_installation() {
        let mut machine = Machine::draw(&MachineMix::uniform(4), "ab", 0, &mut seeded(1)).unwrap();
        let first = machine.unique_key().to_owned();
        machine.restart(true).unwrap();
        assert_eq!(machine.unique_key()[..9], first[..9]);
        assert_ne!(machine.unique_key(), first);
        assert!(machine.renamed);
        machine.restart(false).unwrap();
        assert_ne!(machine.unique_key()[..9], first[..9]);
        assert!(!machine.renamed);
        assert!(machine.json.get().contains(machine.unique_key()));
    }

    #[test]
    fn unreadable_mixes_are_refused() {
        for text in ["", "x", "4:", "0:3", "4:0"] {
            assert!(MachineMix::parse(text).is_err(), "{text:?}");
        }
    }
}
