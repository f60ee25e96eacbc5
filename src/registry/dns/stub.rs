//! A name server for tests that says what it is told to.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex};

use hickory_resolver::proto::op::{Message, OpCode, ResponseCode};
use hickory_resolver::proto::rr::rdata::SRV;
use hickory_resolver::proto::rr::{Name, RData, Record};
use tokio::net::UdpSocket;
use tokio_util::task::AbortOnDropHandle;

/// What it says of a name.
#[derive(Debug, Clone)]
pub(crate) enum Says {
    /// These records, for so many seconds.
    Records(u32, Vec<RData>),
    /// This code and nothing more.
    Code(ResponseCode),
    /// Nothing at all.
    Nothing,
}

/// A server on a port of its own; it ends with this.
#[derive(Debug)]
pub(crate) struct Server {
    pub(crate) address: SocketAddr,
    state: Arc<Mutex<State>>,
    _task: AbortOnDropHandle<()>,
}

#[derive(Debug, Default)]
struct State {
    says: BTreeMap<String, Says>,
    /// How often each name was asked for.
    asked: BTreeMap<String, usize>,
}

impl Says {
    /// These IPv4 addresses.
    pub(crate) fn addresses(ttl: u32, addresses: &[[u8; 4]]) -> Self {
        Self::Records(ttl, addresses.iter().map(|address| RData::A(Ipv4Addr::from(*address).into())).collect())
    }

    /// One server of a service.
    pub(crate) fn service(ttl: u32, host: &str, port: u16) -> Self {
        let target = Name::from_ascii(format!("{host}.")).unwrap();
        Self::Records(ttl, vec![RData::SRV(SRV::new(10, 5, port, target))])
    }
}

impl Server {
    /// One that says of every name that it is not there.
    pub(crate) async fn start() -> Self {
        let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let address = socket.local_addr().unwrap();
        let state = Arc::<Mutex<State>>::default();
        let task = tokio::spawn(serve(socket, state.clone()));
        Self { address, state, _task: AbortOnDropHandle::new(task) }
    }

    /// From now on it says this of a name.
    pub(crate) fn says(&self, name: &str, says: Says) {
        self.state.lock().unwrap().says.insert(name.to_owned(), says);
    }

    /// How often it was asked for a name.
    pub(crate) fn asked(&self, name: &str) -> usize {
        self.state.lock().unwrap().asked.get(name).copied().unwrap_or_default()
    }
}

async fn serve(socket: UdpSocket, state: Arc<Mutex<State>>) {
    let mut buffer = [0; 4096];
    while let Ok((length, client)) = socket.recv_from(&mut buffer).await {
        let question = Message::from_vec(&buffer[..length]).unwrap();
        let query = question.queries[0].clone();
        let name = query.name().to_ascii().trim_end_matches('.').to_owned();
        let says = {
            let mut state = state.lock().unwrap();
            *state.asked.entry(name.clone()).or_default() += 1;
            state.says.get(&name).cloned().unwrap_or(Says::Code(ResponseCode::NXDomain))
        };
        let mut reply = Message::response(question.metadata.id, OpCode::Query);
        reply.add_query(query.clone());
        match says {
            Says::Nothing => continue,
            Says::Code(code) => reply.metadata.response_code = code,
            Says::Records(ttl, records) => {
                let of_type = records.into_iter().filter(|data| data.record_type() == query.query_type());
                let owner = Name::from_ascii(format!("{name}.")).unwrap();
                reply.add_answers(of_type.map(|data| Record::from_rdata(owner.clone(), ttl, data)));
            }
        }
        let _ = socket.send_to(&reply.to_vec().unwrap(), client).await;
    }
}
