//! What HAProxy says of its servers (management guide, `show servers state`).

use std::net::IpAddr;

/// Forced into maintenance, by the socket or by `disabled` in the file.
const MAINTENANCE: u32 = 0x01;
/// The same, inherited from a server that it tracks, or because its name does not resolve.
const OUT: u32 = 0x23;
/// Told to drain.
const DRAIN: u32 = 0x08;
/// Health checks are on.
const CHECKED: u32 = 0x04;

/// The columns that are read, by their names in the second line.
const COLUMNS: [&str; 8] =
    ["be_name", "srv_name", "srv_addr", "srv_port", "srv_admin_state", "srv_uweight", "srv_iweight", "srv_check_state"];

/// The state of all servers of some sections.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Table {
    /// The two lines before the first server.
    head: String,
    /// The servers, in their order.
    pub(super) rows: Vec<Row>,
    columns: [usize; 8],
}

/// The state of one server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Row {
    /// Its section.
    pub(super) section: String,
    /// Its name.
    pub(super) name: String,
    /// Its address, and its port where it has one; no address where it is none of IP.
    pub(super) address: (Option<IpAddr>, u16),
    /// Its share.
    pub(super) weight: u16,
    admin: u32,
    checks: u32,
    line: String,
}

impl Table {
    /// Reads the first version of the format, which is the only one until now.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let mut lines = text.lines();
        let (version, header) = (lines.next()?, lines.next()?);
        if version.trim() != "1" {
            return None;
        }
        let names: Vec<&str> = header.strip_prefix('#')?.split_whitespace().collect();
        let mut columns = [0; 8];
        for (column, name) in columns.iter_mut().zip(COLUMNS) {
            *column = names.iter().position(|other| *other == name)?;
        }
        let lines = lines.filter(|line| !line.trim().is_empty() && !line.starts_with('#'));
        let rows: Option<Vec<Row>> = lines.map(|line| Row::parse(line, columns)).collect();
        Some(Self { head: format!("{version}\n{header}\n"), rows: rows?, columns })
    }

    /// The table of nothing, in this format.
    pub(super) fn empty() -> Self {
        Self { head: "1\n".to_owned(), ..Self::default() }
    }

    /// The same with other rows.
    pub(super) fn with(&self, rows: Vec<Row>) -> Self {
        Self { head: self.head.clone(), rows, columns: self.columns }
    }

    /// As HAProxy writes and reads it.
    pub(super) fn write(&self) -> String {
        let mut text = self.head.clone();
        for row in &self.rows {
            text.push_str(&row.line);
            text.push('\n');
        }
        text
    }

    /// The same for a process that starts with this address and weight for the server: only what somebody else has made of
    /// it is left, its health and whether it drains. HAProxy would take the weight, where that of its file is the same as
    /// before, and the port over what its file says.
    pub(super) fn set(&self, row: &Row, address: Option<(IpAddr, u16)>, weight: u16) -> Row {
        let [_, _, host, port, admin, user_weight, file_weight, _] = self.columns;
        let mut cells: Vec<String> = row.line.split_whitespace().map(str::to_owned).collect();
        let mut put = |column: usize, text: String| {
            if let Some(cell) = cells.get_mut(column) {
                *cell = text;
            }
        };
        if let Some((address, number)) = address {
            put(host, address.to_string());
            put(port, number.to_string());
        }
        put(user_weight, weight.to_string());
        put(file_weight, weight.to_string());
        put(admin, (row.admin & DRAIN).to_string());
        Row { line: cells.join(" "), ..row.clone() }
    }
}

impl Row {
    fn parse(line: &str, columns: [usize; 8]) -> Option<Self> {
        let cells: Vec<&str> = line.split_whitespace().collect();
        let [section, name, host, port, admin, weight, _, checks] = columns.map(|column| cells.get(column).copied());
        Some(Self {
            section: section?.to_owned(),
            name: name?.to_owned(),
            address: (host?.parse().ok(), port?.parse().ok()?),
            weight: weight?.parse().ok()?,
            admin: admin?.parse().ok()?,
            checks: checks?.parse().ok()?,
            line: line.trim().to_owned(),
        })
    }

    /// Whether it takes nothing, because somebody or its file said so.
    pub(super) fn is_in_maintenance(&self) -> bool {
        self.admin & MAINTENANCE != 0
    }

    /// Whether it takes nothing for any reason but its health.
    pub(super) fn is_out(&self) -> bool {
        self.admin & OUT != 0
    }

    /// Whether somebody has told it to drain.
    pub(super) fn drains(&self) -> bool {
        self.admin & DRAIN != 0
    }

    /// Whether its health is checked now, or would be if it were not in maintenance.
    pub(super) fn is_checked(&self) -> bool {
        self.checks & CHECKED != 0
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    pub(in super::super) const HEAD: &str = "1\n# be_id be_name srv_id srv_name srv_addr srv_op_state srv_admin_state srv_uweight srv_iweight \
         srv_time_since_last_change srv_check_status srv_check_result srv_check_health srv_check_state srv_agent_state \
         bk_f_forced_id srv_f_forced_id srv_fqdn srv_port srvrecord srv_use_ssl srv_check_port srv_check_addr \
         srv_agent_addr srv_agent_port\n";

    /// As HAProxy 2.6.12 writes it.
    pub(in super::super) fn table(rows: &str) -> Table {
        Table::parse(&format!("{HEAD}{rows}\n")).unwrap()
    }

    const ROWS: &str = "3 a 1 s1 127.0.0.1 2 0 5 5 28 15 3 4 6 0 0 0 - 29001 - 0 0 - - 0\n\
                        3 a 2 d1 ::1 0 5 1 1 0 1 0 0 10 0 0 0 - 29002 - 0 0 - - 0\n\
                        3 a 6 d6 - 0 1 1 1 0 1 0 0 0 0 0 0 localhost 80 - 0 0 - - 0\n\
                        4 c 1 s1 127.0.0.1 2 8 9 1 0 6 3 4 6 0 0 0 - 29001 - 0 0 - - 0\n";

    #[test]
    fn what_haproxy_says_is_read_and_written_alike() {
        let table = table(ROWS);
        let seen: Vec<_> = table.rows.iter().map(|row| (&*row.name, row.weight, row.is_in_maintenance())).collect();
        assert_eq!(seen, [("s1", 5, false), ("d1", 1, true), ("d6", 1, true), ("s1", 9, false)]);
        assert_eq!(table.rows[1].address, (Some("::1".parse().unwrap()), 29002));
        assert_eq!(table.rows[2].address.0, None);
        assert!(table.rows[0].is_checked() && !table.rows[1].is_checked() && table.rows[3].drains());
        assert_eq!(table.write(), format!("{HEAD}{ROWS}"));
    }

    #[test]
    fn what_its_file_says_is_not_taken_over_a_start() {
        let table = table(ROWS);
        let row = table.set(&table.rows[3], Some(("10.0.0.1".parse().unwrap(), 81)), 7);
        assert_eq!(row.line, "4 c 1 s1 10.0.0.1 2 8 7 7 0 6 3 4 6 0 0 0 - 81 - 0 0 - - 0");
    }

    #[test]
    fn nonsense_is_no_table() {
        for text in ["", "1\n", "2\n# be_name\n", "1\n# be_name srv_name\na b\n", "Unknown command\n\n"] {
            assert_eq!(Table::parse(text), None, "{text}");
        }
        assert_eq!(Table::parse(&format!("{HEAD}3 a 1 s1 127.0.0.1\n")), None);
        assert_eq!(table("").rows, []);
    }
}
