//! Reads: many ranges at one revision, page by page.

use std::sync::Arc;

use futures_util::{StreamExt, TryStreamExt};

use super::connection::{Connection, Failure};
use super::keys::KeyRange;
use super::messages::{KeyValue, RangeRequest, RangeResponse};
use crate::registry::limit;

/// How many ranges are read at the same time.
const AT_ONCE: usize = 16;

/// How many keys a page has at most. A page that is too large for one message is asked for again with an eighth.
pub(super) const PAGE: i64 = 10_000;

/// What is wanted of one range.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Part {
    /// All keys with their values.
    All,
    /// The keys that changed after a revision, with their values; and how many keys there are.
    After(i64),
    /// The names of the keys that changed after a revision; and how many keys there are.
    NamesAfter(i64),
    /// Nothing but whether it may be read.
    Permission,
}

/// What one range holds.
#[derive(Debug, Default)]
pub(super) struct Found {
    /// The keys that were wanted.
    pub(super) kvs: Vec<KeyValue>,
    /// How many keys there are.
    pub(super) count: usize,
    /// Why the rest was not read, where it is more than `limits` allow; then there are no keys.
    pub(super) excess: Option<String>,
}

/// Several ranges at one revision.
#[derive(Debug)]
pub(super) struct Snapshot {
    /// The cluster that answered.
    pub(super) cluster: u64,
    /// The revision of everything that was found.
    pub(super) revision: i64,
    /// What was found, in the order of what was asked; none where permission is denied.
    pub(super) found: Vec<Option<Found>>,
}

/// Reads ranges at one revision: the first that may be read is read at the newest, which is a linearizable read and
/// so never an old one, and the others at the revision that it showed. Nothing (but for the denials) is read when
/// all are denied. A token that is not taken any more is renewed once.
pub(super) async fn snapshot(
    connection: &Arc<Connection>,
    wanted: &[(KeyRange, Part)],
    page: i64,
) -> Result<Option<Snapshot>, Failure> {
    match attempt(connection, wanted, page).await {
        Err(Failure::Unauthenticated(why)) if connection.has_login() => {
            tracing::debug!(%why, "authenticating again");
            connection.authenticate().await?;
            attempt(connection, wanted, page).await
        }
        result => result,
    }
}

/// Reads ranges at a revision that an earlier [`snapshot`] showed.
pub(super) async fn at(
    connection: &Arc<Connection>,
    wanted: Vec<(KeyRange, Part)>,
    revision: i64,
    page: i64,
) -> Result<Vec<Option<Found>>, Failure> {
    futures_util::stream::iter(wanted)
        .map(|(range, part)| {
            let connection = connection.clone();
            async move {
                let read = read(&connection, &range, part, revision, page).await?;
                Ok(read.map(|(_, found)| found))
            }
        })
        .buffered(AT_ONCE)
        .try_collect()
        .await
}

async fn attempt(
    connection: &Arc<Connection>,
    wanted: &[(KeyRange, Part)],
    page: i64,
) -> Result<Option<Snapshot>, Failure> {
    let mut found = Vec::with_capacity(wanted.len());
    for (index, (range, part)) in wanted.iter().enumerate() {
        let Some((head, first)) = read(connection, range, *part, 0, page).await? else {
            found.push(None);
            continue;
        };
        found.push(Some(first));
        found.extend(at(connection, wanted[index + 1..].to_vec(), head.revision, page).await?);
        return Ok(Some(Snapshot { cluster: head.cluster, revision: head.revision, found }));
    }
    Ok(None)
}

/// Which state of which cluster a first page showed.
struct Head {
    cluster: u64,
    revision: i64,
}

/// Reads one range, all its pages at `revision`, or at the newest one if it is 0; none when permission is denied.
async fn read(
    connection: &Connection,
    range: &KeyRange,
    part: Part,
    revision: i64,
    page: i64,
) -> Result<Option<(Head, Found)>, Failure> {
    let mut request = RangeRequest {
        key: range.start.clone(),
        range_end: range.end.clone(),
        limit: if part == Part::Permission { 1 } else { page },
        revision,
        keys_only: matches!(part, Part::NamesAfter(_) | Part::Permission),
        min_mod_revision: match part {
            Part::All | Part::Permission => 0,
            Part::After(revision) | Part::NamesAfter(revision) => revision + 1,
        },
    };
    let limits = &connection.limits;
    let mut result: Option<(Head, Found)> = None;
    let mut bytes = 0;
    loop {
        let page = match connection.range(request.clone()).await {
            Err(Failure::TooLarge(_)) if request.limit > 1 => {
                request.limit = (request.limit / 8).max(1);
                continue;
            }
            // One key that is too large for a message.
            Err(Failure::TooLarge(_)) => {
                let excess = || Found { excess: Some(limit::bytes(limits)), ..Found::default() };
                return match result {
                    Some((head, _)) => Ok(Some((head, excess()))),
                    None => Ok(head(connection, &request).await?.map(|head| (head, excess()))),
                };
            }
            Err(Failure::Denied) => return Ok(None),
            page => page?,
        };
        let more = page.more;
        bytes += page.kvs.iter().map(|kv| kv.key.len() + kv.value.len()).sum::<usize>();
        let (head, found) = match &mut result {
            Some(result) => {
                result.1.kvs.extend(page.kvs);
                result
            }
            None => result.insert(first_page(page, revision)?),
        };
        if matches!(part, Part::All | Part::After(_)) {
            found.excess = if limit::are_many(found.count, limits) {
                Some(limit::keys(found.count, limits))
            } else {
                (bytes as u64 > limits.response).then(|| limit::bytes(limits))
            };
        }
        if found.excess.is_some() {
            found.kvs = Vec::new();
            return Ok(result);
        }
        match found.kvs.last() {
            Some(last) if more && part != Part::Permission => {
                request.key.clone_from(&last.key);
                request.key.push(0);
                request.revision = head.revision;
            }
            _ => return Ok(result),
        }
    }
}

/// Which state a range shows whose first key is too large to be read.
async fn head(connection: &Connection, request: &RangeRequest) -> Result<Option<Head>, Failure> {
    let names = RangeRequest { keys_only: true, ..request.clone() };
    match connection.range(names).await {
        Err(Failure::Denied) => Ok(None),
        page => Ok(Some(first_page(page?, request.revision)?.0)),
    }
}

fn first_page(page: RangeResponse, revision: i64) -> Result<(Head, Found), Failure> {
    let header = page.header.ok_or_else(|| Failure::Lost("it answers without a header".to_owned()))?;
    // The header shows the newest revision, also of a read at an older one.
    let revision = if revision == 0 { header.revision } else { revision };
    let count = usize::try_from(page.count).unwrap_or_default();
    Ok((Head { cluster: header.cluster_id, revision }, Found { kvs: page.kvs, count, excess: None }))
}
