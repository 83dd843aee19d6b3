//! The process of `cutover lab serve DIR`: makes what is missing, starts all services, and stays until
//! it is told to end or nobody asks anything any more.
//!
//! Not known here: how a service answers.

use super::ca::{self, Authority, Wanted};
use super::control::Control;
use super::edge::Edge;
use super::home::Home;
use super::http::{Call, Handler, Port};
use super::ocsp::Responder;
use super::store::{self, Sentinels, Size};
use super::world::World;
use super::{HOSTS, Link, Options, SITES, der, estate, hosts, now_ms, orders, state};
use anyhow::{Context as _, Result, bail};
use std::collections::BTreeMap;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Duration;
use tokio::process::{Child, Command};

/// How long the clients have to write down what they saw.
const LAST_WORDS: Duration = Duration::from_secs(5);
/// Between two looks at directory, clients and idleness.
const LOOK: Duration = Duration::from_millis(200);
/// So often are dead clients started again; what fails each time is not tried for ever.
const RESTARTS: u32 = 10;
/// The control API's name among the addresses.
const CONTROL: &str = "control";

type Ports = BTreeMap<(&'static str, &'static str), Arc<Port>>;

/// Serves the lab in `directory`, with the options that [`super::up`] left there, in a session of its
/// own. Returns when the lab has ended.
///
/// # Errors
/// Another process serves it, or something of it cannot be made.
pub fn main(directory: &Path) -> Result<()> {
    // A new session outlives the terminal and the runner. It fails for a leader of a group, whom the
    // shell has put into the background already.
    let _ = rustix::process::setsid();
    let directory = directory.canonicalize()?;
    let home = Arc::new(Home::take(&directory)?);
    let options: Options = state::read_json(&directory.join("options.json"))?;
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(4).enable_all().build()?;
    runtime.block_on(serve(&directory, options, home))
}

async fn serve(directory: &Path, options: Options, home: Arc<Home>) -> Result<()> {
    let making = (directory.to_owned(), options.clone());
    let authorities =
        tokio::task::spawn_blocking(move || make_authorities(&making.0, &making.1)).await??;
    let sentinels: BTreeMap<String, Serials> = serials(directory, &authorities)?;
    let making = (directory.to_owned(), options.clone(), sentinels.clone());
    tokio::task::spawn_blocking(move || make_databases(&making.0, &making.1, &making.2)).await??;
    let world = Arc::new(World::new(directory.to_owned(), options, authorities, home)?);
    // The first lists are signed before anybody can ask for them.
    let signing = Arc::clone(&world);
    tokio::task::spawn_blocking(move || {
        signing.options.lines.iter().try_for_each(|line| signing.sign(line))
    })
    .await??;
    let mut numbers = Numbers::read(directory)?;
    let (ports, edges) = make_ports(&world, &mut numbers)?;
    let control = control_port(&world, ports.clone(), edges, &mut numbers)?;
    for ((site, host), port) in &ports {
        port.start()
            .await
            .with_context(|| taken(&format!("{site}/{host}"), port.address.port()))?;
    }
    numbers.keep()?;
    for site in SITES {
        orders::start_workers(&world, site)?;
    }
    orders::start_signer(&world)?;
    control.start().await.with_context(|| taken(CONTROL, control.address.port()))?;
    let link = write_files(&world, &ports, &control.url(), &sentinels)?;
    let mut load = start_load(&world)?;
    // What making it took is no idleness.
    world.touch();
    super::write_whole(&directory.join("lab.json"), &serde_json::to_vec_pretty(&link)?)?;
    wait(&world, &mut load).await?;
    world.end();
    end_load(&mut load).await;
    for port in ports.values() {
        port.drain(Duration::from_millis(200)).await;
    }
    control.drain(Duration::from_millis(200)).await;
    if !world.home.is_ours() {
        return Ok(());
    }
    super::remove(&directory.join("lab.json"))
}

/// Until told to end, or nobody asked anything for too long, or the directory was taken away. Clients
/// that died are started again: a lab without its witness proves nothing.
async fn wait(world: &World, load: &mut Option<Child>) -> Result<()> {
    use tokio::signal::unix::{SignalKind, signal};
    let mut ending = world.ending.subscribe();
    let mut terminated = signal(SignalKind::terminate())?;
    let mut interrupted = signal(SignalKind::interrupt())?;
    let limit = Duration::from_secs(world.options.idle_seconds);
    let mut restarts = RESTARTS;
    loop {
        tokio::select! {
            _ = ending.wait_for(|ending| *ending) => return Ok(()),
            _ = terminated.recv() => return Ok(()),
            _ = interrupted.recv() => return Ok(()),
            () = tokio::time::sleep(LOOK) => {
                if world.idle() >= limit || !world.home.is_ours() {
                    return Ok(());
                }
                let died = load.as_mut().is_some_and(|load| !matches!(load.try_wait(), Ok(None)));
                if died && restarts > 0 {
                    restarts -= 1;
                    *load = start_load(world)?;
                }
            }
        }
    }
}

fn make_authorities(directory: &Path, options: &Options) -> Result<Vec<Arc<Authority>>> {
    for name in
        ["ca", "crl", "db/from", "db/to", "load", "channels/customers", "channels/partner-blog"]
    {
        fs::create_dir_all(directory.join(name))?;
    }
    let (place, now) = (directory.join("ca"), now_ms() / 1000);
    let open = |line: &String| Authority::open(&place, line, now).map(Arc::new);
    options.lines.iter().map(open).collect()
}

/// A line's sentinels.
#[derive(Clone, Debug, serde::Serialize, serde::Deserialize)]
pub(super) struct Serials {
    pub(super) good: String,
    pub(super) revoked: String,
    pub(super) unissued: String,
}

/// The sentinels' serials, those of before if there are any.
fn serials(directory: &Path, authorities: &[Arc<Authority>]) -> Result<BTreeMap<String, Serials>> {
    let path = directory.join("sentinels.json");
    if path.exists() {
        return state::read_json(&path);
    }
    let made: BTreeMap<String, Serials> = authorities
        .iter()
        .map(|authority| {
            let serials = Serials {
                good: der::hex(&authority.awkward_serial()),
                revoked: der::hex(&ca::serial()),
                unissued: der::hex(&ca::serial()),
            };
            (authority.line.clone(), serials)
        })
        .collect();
    super::write_whole(&path, &serde_json::to_vec_pretty(&made)?)?;
    Ok(made)
}

/// The old site's databases, where they are missing; the new site's are empty files.
fn make_databases(
    directory: &Path,
    options: &Options,
    sentinels: &BTreeMap<String, Serials>,
) -> Result<()> {
    let size = Size { certificates: options.certificates, orders: options.orders };
    let make = |line: &String| -> Result<()> {
        let path = super::world::database(directory, "from", line);
        let there = super::world::database(directory, "to", line);
        if !there.exists() {
            store::open(&there)?;
        }
        if path.exists() {
            return Ok(());
        }
        let serials = sentinels.get(line).context("BUG: a line without sentinels")?;
        let bytes = |text: &str| der::from_hex(text).context("`sentinels.json` is damaged");
        let sentinels =
            Sentinels { good: bytes(&serials.good)?, revoked: bytes(&serials.revoked)? };
        // Under another name until it is whole.
        let making = path.with_extension("making");
        super::remove(&making)?;
        store::create(&making, line, size, &sentinels, now_ms())
            .with_context(|| format!("making the database of `{line}`"))?;
        fs::rename(&making, &path)?;
        Ok(())
    };
    std::thread::scope(|scope| {
        let threads: Vec<_> =
            options.lines.iter().map(|line| scope.spawn(move || make(line))).collect();
        threads.into_iter().try_for_each(|thread| {
            thread.join().unwrap_or_else(|_| bail!("making a database panicked"))
        })
    })
}

/// The ports that a lab has had: it comes up again at the same ones, and a run that knows its
/// addresses goes on.
struct Numbers {
    path: PathBuf,
    ports: BTreeMap<String, u16>,
}

impl Numbers {
    fn read(directory: &Path) -> Result<Self> {
        let path = directory.join("ports.json");
        let ports = if path.exists() { state::read_json(&path)? } else { BTreeMap::new() };
        Ok(Self { path, ports })
    }

    fn reserve(&mut self, name: &str, handler: Handler) -> Result<Port> {
        let wanted = self.ports.get(name).copied().unwrap_or(0);
        let port = Port::reserve(handler, wanted).with_context(|| taken(name, wanted))?;
        self.ports.insert(name.to_owned(), port.address.port());
        Ok(port)
    }

    fn keep(&self) -> Result<()> {
        super::write_whole(&self.path, &serde_json::to_vec_pretty(&self.ports)?)
    }
}

fn taken(name: &str, number: u16) -> String {
    if number == 0 {
        return format!("no port is to be had for `{name}`");
    }
    format!(
        "port {number}, which `{name}` of this lab has, cannot be had (`ss -anp 'sport = :{number}'` \
         shows who has it): free it, or remove `ports.json` for a lab at other addresses"
    )
}

/// Reserves the port of every host, edges last: they need the others' addresses.
fn make_ports(
    world: &Arc<World>,
    numbers: &mut Numbers,
) -> Result<(Ports, BTreeMap<&'static str, Arc<Edge>>)> {
    let (mut ports, mut edges) = (Ports::new(), BTreeMap::new());
    for site in SITES {
        let mut behind = BTreeMap::new();
        for (host, ..) in HOSTS {
            let Some(handler) = handler(world, site, host)? else { continue };
            let port = Arc::new(numbers.reserve(&format!("{site}/{host}"), handler)?);
            behind.insert(host, port.url());
            ports.insert((site, host), port);
        }
        let edge = Arc::new(Edge::new(Arc::clone(world), site, behind));
        edges.insert(site, Arc::clone(&edge));
        let handler: Handler = Arc::new(move |call| Box::pin(Arc::clone(&edge).answer(call)));
        let port = Arc::new(numbers.reserve(&format!("{site}/edge-1"), handler)?);
        ports.insert((site, "edge-1"), port);
    }
    Ok((ports, edges))
}

/// What a host answers; none for the edge, which is made apart, and for the database's host, which is
/// reached by file.
fn handler(world: &Arc<World>, site: &'static str, host: &'static str) -> Result<Option<Handler>> {
    Ok(Some(match host {
        "ocsp-1" | "ocsp-2" => {
            let name = format!("{site} {host}");
            let responder = Responder::new(&world.authorities, &name, now_ms() / 1000)?;
            hosts::handler(world, site, host, move |world, call, lie| {
                hosts::ocsp(world, site, host, &responder, call, lie)
            })
        }
        "crl-1" => hosts::handler(world, site, host, hosts::crl),
        "seal-1" => hosts::handler(world, site, host, hosts::seal),
        orders::HOST => order_handler(world, site),
        _ => return Ok(None),
    }))
}

fn order_handler(world: &Arc<World>, site: &'static str) -> Handler {
    let world = Arc::clone(world);
    Arc::new(move |call: Call| {
        let world = Arc::clone(&world);
        Box::pin(async move {
            // Writing may wait for another writer of the same file.
            let work = move || orders::answer(&world, site, &call);
            tokio::task::spawn_blocking(work)
                .await
                .unwrap_or_else(|_| super::http::Reply::text(500, "the order service failed"))
        })
    })
}

fn control_port(
    world: &Arc<World>,
    ports: Ports,
    edges: BTreeMap<&'static str, Arc<Edge>>,
    numbers: &mut Numbers,
) -> Result<Port> {
    let upgrades = SITES
        .iter()
        .flat_map(|site| HOSTS.iter().map(|(host, ..)| ((*site, *host), Default::default())))
        .collect();
    let control = Arc::new(Control {
        world: Arc::clone(world),
        edges,
        ports,
        upgrades,
        faults_made: AtomicU64::new(0),
    });
    let handler: Handler = Arc::new(move |call| Box::pin(Arc::clone(&control).answer(call)));
    numbers.reserve(CONTROL, handler)
}

/// The estate, the hosts' commands, the certificates.
fn write_files(
    world: &World,
    ports: &Ports,
    control: &str,
    sentinels: &BTreeMap<String, Serials>,
) -> Result<Link> {
    let directory = &world.directory;
    let urls = ports.iter().map(|(host, port)| (*host, port.url())).collect();
    let addresses = estate::Addresses { control, hosts: &urls };
    let now = now_ms() / 1000;
    for authority in &world.authorities {
        let line = &authority.line;
        let path = directory.join(format!("{line}-ca.pem"));
        super::write_whole(&path, der::pem(&authority.certificate).as_bytes())?;
        let Some(serials) = sentinels.get(line) else { continue };
        let edge = urls.get(&("from", "edge-1")).map_or("", String::as_str);
        let (ocsp, crl) = (format!("{edge}/ocsp/{line}"), format!("{edge}/crl/{line}.crl"));
        for (class, serial) in [
            ("good", &serials.good),
            ("revoked", &serials.revoked),
            ("unissued", &serials.unissued),
        ] {
            let path = directory.join(format!("{line}-{class}.pem"));
            if path.exists() {
                continue;
            }
            let serial = der::from_hex(serial).context("`sentinels.json` is damaged")?;
            let host = store::host(line, class);
            let wanted = Wanted { serial: &serial, host: &host, ocsp: &ocsp, crl: &crl };
            let certificate = authority.server(&wanted, now)?;
            super::write_whole(&path, der::pem(&certificate).as_bytes())?;
        }
    }
    let program = program(&world.options)?;
    estate::write_commands(directory, &program)?;
    let text = estate::text(directory, &world.options.lines, &addresses);
    let file = directory.join("estate.yaml");
    super::write_whole(&file, text.as_bytes())?;
    Ok(Link {
        control: control.to_owned(),
        directory: directory.clone(),
        estate: file,
        pid: std::process::id(),
    })
}

fn program(options: &Options) -> Result<PathBuf> {
    match &options.program {
        Some(program) => Ok(program.clone()),
        None => std::env::current_exe().context("finding this program's file"),
    }
}

fn start_load(world: &World) -> Result<Option<Child>> {
    if world.options.load <= 0.0 {
        return Ok(None);
    }
    let log = File::create(world.directory.join("load.log"))?;
    let child = Command::new(program(&world.options)?)
        .args(["lab", "load"])
        .arg(&world.directory)
        .stdin(Stdio::null())
        .stdout(log.try_clone()?)
        .stderr(log)
        .spawn()
        .context("starting `lab load`")?;
    Ok(Some(child))
}

/// The clients end by themselves when the control API says so; they are waited for, within reason.
async fn end_load(load: &mut Option<Child>) {
    if let Some(child) = load
        && tokio::time::timeout(LAST_WORDS, child.wait()).await.is_err()
    {
        // It may have ended in the meantime.
        let _ = child.kill().await;
    }
}
