//! YAML text to a tree of nodes that know where they stand.
//!
//! The events of the YAML parser are composed here and not by serde, for three reasons: a scalar's
//! text stays as it was written (`no`, `0755`, `4.20`), equal keys of a map are both kept so that
//! the second can be shown, and every bound on depth and aliases is ours. Not known here: which
//! fields there are.

use super::fault::Fault;
use super::{Span, Spanned};
use serde_yaml::granit_parser::{self, Event, Parser, ScalarStyle, ScanError, Tag};
use std::borrow::Cow;
use std::collections::BTreeMap;

/// Larger files are refused: 100,000 steps written one by one are 16 MB.
pub const MAX_BYTES: usize = 64 << 20;
/// Deeper nesting is refused. A plan needs 8.
const MAX_DEPTH: usize = 64;
/// Nodes that anchors and aliases may copy in all. A plan needs none.
const MAX_REPEATED: usize = 50_000;

/// A node of the tree.
#[derive(Clone, Debug, PartialEq)]
pub struct Node<'t> {
    /// What it is.
    pub value: Value<'t>,
    /// Where it stands; of an aliased node, where it was defined.
    pub span: Span,
}

/// What a node is.
#[derive(Clone, Debug, PartialEq)]
pub enum Value<'t> {
    /// Nothing, `~` or `null`, unquoted.
    Null,
    /// Text: `plain` when it was written without quotes.
    Scalar {
        /// As written, escapes of quoted text resolved.
        text: Cow<'t, str>,
        /// Without quotes and no block: it may be a number or a boolean.
        plain: bool,
    },
    /// A list.
    List(Vec<Node<'t>>),
    /// A map in written order. Equal keys are all kept.
    Map(Vec<Entry<'t>>),
}

/// A key and its value.
#[derive(Clone, Debug, PartialEq)]
pub struct Entry<'t> {
    /// The key.
    pub key: Spanned<Cow<'t, str>>,
    /// The value.
    pub value: Node<'t>,
}

impl Node<'_> {
    /// What it is, with its article, for messages.
    pub fn sort(&self) -> &'static str {
        match &self.value {
            Value::Null => "nothing",
            Value::Scalar { .. } => "text",
            Value::List(_) => "a list",
            Value::Map(_) => "a map",
        }
    }

    /// Nodes in it, itself included.
    fn count(&self) -> usize {
        match &self.value {
            Value::Null | Value::Scalar { .. } => 1,
            Value::List(nodes) => 1 + nodes.iter().map(Node::count).sum::<usize>(),
            Value::Map(entries) => 1 + entries.iter().map(|e| 1 + e.value.count()).sum::<usize>(),
        }
    }

    /// Levels in it, itself included.
    fn depth(&self) -> usize {
        match &self.value {
            Value::Null | Value::Scalar { .. } => 1,
            Value::List(nodes) => 1 + nodes.iter().map(Node::depth).max().unwrap_or(0),
            Value::Map(entries) => 1 + entries.iter().map(|e| e.value.depth()).max().unwrap_or(0),
        }
    }
}

/// Reads one YAML document.
///
/// # Errors
/// The first fault of syntax, alone: after it nothing can be said of the rest. Also a file that is
/// empty, too large, too deep, or whose aliases repeat too much.
pub fn parse(text: &str) -> Result<Node<'_>, Fault> {
    if text.len() > MAX_BYTES {
        let what = format!("the file is larger than {} MiB", MAX_BYTES >> 20);
        return Err(Fault::error("too-large", Span::default(), what).hint(
            "let one step fan out with `for_each` instead of writing each of its instances",
        ));
    }
    let mut composer = Composer::new(text);
    while composer.advance()? {}
    composer.into_root()
}

/// A document whose root map ends with one long map, whose entries are read one after the other and
/// never held together: a tree of 100,000 steps would cost more memory than the plan itself.
pub struct Passing<'t> {
    composer: Composer<'t>,
    key: &'static str,
}

/// What stands above the long map, as a map of its own in which that is empty, and the long map.
pub type HeadAndRest<'t> = (Node<'t>, Passing<'t>);

/// Begins to read a document in passing. None when it cannot be read so: it is faulty, or has no
/// such map; [`parse`] says why.
pub fn pass<'t>(text: &'t str, key: &'static str) -> Option<HeadAndRest<'t>> {
    if text.len() > MAX_BYTES {
        return None;
    }
    let mut composer = Composer::new(text);
    while composer.advance().ok()? {
        let [
            Open::Map { entries, key: Some(name), span, anchor: 0 },
            Open::Map { span: of_map, anchor: 0, .. },
        ] = composer.stack.as_mut_slice()
        else {
            continue;
        };
        if name.value != key {
            continue;
        }
        let mut above = std::mem::take(entries);
        let empty = Node { value: Value::Map(Vec::new()), span: *of_map };
        above.push(Entry { key: name.clone(), value: empty });
        let head = Node { value: Value::Map(above), span: *span };
        return Some((head, Passing { composer, key }));
    }
    None
}

impl<'t> Passing<'t> {
    /// The next entry of the long map, in written order; none at its end.
    ///
    /// # Errors
    /// The text is faulty, or something follows the map.
    pub fn entry(&mut self) -> Result<Option<Entry<'t>>, NotInPassing> {
        loop {
            match self.composer.stack.as_mut_slice() {
                [Open::Map { .. }, Open::Map { entries, .. }, ..] => {
                    if let Some(entry) = entries.pop() {
                        return Ok(Some(entry));
                    }
                }
                // The long map is closed: it was put into its place, and nothing may follow.
                [Open::Map { entries, key: None, .. }] if matches!(entries.as_slice(), [only] if only.key.value == self.key) =>
                    {}
                [Open::Map { .. }] => return Err(NotInPassing),
                _ => {}
            }
            if !self.composer.advance().map_err(|_| NotInPassing)? {
                return Ok(None);
            }
        }
    }
}

/// A document must be read as a whole after all; [`parse`] tells its fault, if that is why.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NotInPassing;

/// A node that is still being filled.
enum Open<'t> {
    List { nodes: Vec<Node<'t>>, span: Span, anchor: usize },
    Map { entries: Vec<Entry<'t>>, key: Option<Spanned<Cow<'t, str>>>, span: Span, anchor: usize },
}

struct Composer<'t> {
    text: &'t str,
    parser: Parser<'t, granit_parser::StrInput<'t>>,
    /// Nodes that are not complete, the outermost first.
    stack: Vec<Open<'t>>,
    root: Option<Node<'t>>,
    documents: usize,
    /// Finished nodes by anchor id.
    anchors: BTreeMap<usize, Node<'t>>,
    repeated: usize,
}

impl<'t> Composer<'t> {
    fn new(text: &'t str) -> Self {
        let mut options = granit_parser::Options::default();
        options.set_emit_comments(false);
        options.flow_nesting_limit = MAX_DEPTH;
        options.block_nesting_limit = MAX_DEPTH;
        options.simple_key_max_lookahead = 1024;
        Self {
            text,
            parser: Parser::new_from_str_with_options(text, options),
            stack: Vec::new(),
            root: None,
            documents: 0,
            anchors: BTreeMap::new(),
            repeated: 0,
        }
    }

    fn next(&mut self) -> Result<(Event<'t>, Span), Fault> {
        match self.parser.next_event() {
            None => Ok((Event::StreamEnd, self.at_end())),
            Some(Ok((event, span))) => {
                let span = self.span(&span.start, &span.end);
                Ok((event, span))
            }
            Some(Err(error)) => Err(self.syntax(&error)),
        }
    }

    fn at_end(&self) -> Span {
        let end = u32::try_from(self.text.trim_end().len()).unwrap_or(u32::MAX);
        Span { start: end, end }
    }

    /// Bytes of a parser's span, always on character boundaries.
    fn span(&self, start: &granit_parser::Marker, end: &granit_parser::Marker) -> Span {
        let floor = |marker: &granit_parser::Marker| {
            let offset = marker.byte_offset().unwrap_or(0).min(self.text.len());
            self.text.floor_char_boundary(offset)
        };
        let (start, end) = (floor(start), floor(end));
        let cut = self.text.get(start..end).unwrap_or("").trim_end().len();
        Span {
            start: u32::try_from(start).unwrap_or(u32::MAX),
            end: u32::try_from(start + cut).unwrap_or(u32::MAX),
        }
    }

    fn syntax(&self, error: &ScanError) -> Fault {
        let mut span = self.span(error.marker(), error.marker());
        span.end = span.start;
        let info = error.info();
        let info = info.lines().next().unwrap_or("not readable");
        let deep = info.contains("nesting") || info.contains("depth") || info.contains("recursion");
        if deep {
            return too_deep(span);
        }
        let fault = Fault::error("syntax", span, format!("this is not YAML: {info}"));
        match syntax_hint(self.text, span.start as usize, info) {
            Some(hint) => fault.hint(hint),
            None => fault,
        }
    }

    /// Takes one event of the parser; false at the end of the text.
    fn advance(&mut self) -> Result<bool, Fault> {
        let (event, span) = self.next()?;
        let node = match event {
            Event::StreamEnd => return Ok(false),
            Event::DocumentStart(..) => {
                self.documents += 1;
                if self.documents > 1 {
                    let what = "a second document begins here";
                    return Err(Fault::error("documents", span, what)
                        .hint("one file holds one document; remove the `---`"));
                }
                return Ok(true);
            }
            Event::MappingStart(_, anchor, tag) => {
                self.tag(tag.as_deref(), span, "map")?;
                deeper(&self.stack, span)?;
                self.stack.push(Open::Map { entries: Vec::new(), key: None, span, anchor });
                return Ok(true);
            }
            Event::SequenceStart(_, anchor, tag) => {
                self.tag(tag.as_deref(), span, "seq")?;
                deeper(&self.stack, span)?;
                self.stack.push(Open::List { nodes: Vec::new(), span, anchor });
                return Ok(true);
            }
            Event::MappingEnd | Event::SequenceEnd => match self.stack.pop() {
                Some(open) => self.close(open, span)?,
                None => return Ok(true),
            },
            Event::Scalar(text, style, anchor, tag) => {
                self.scalar(text, style, anchor, tag.as_deref(), span)?
            }
            Event::Alias(id) => self.alias(id, span, self.stack.len())?,
            _ => return Ok(true),
        };
        place(&mut self.stack, &mut self.root, node)?;
        Ok(true)
    }

    fn into_root(self) -> Result<Node<'t>, Fault> {
        match self.root {
            Some(Node { value: Value::Null, .. }) | None => Err(empty(self.text)),
            Some(root) => Ok(root),
        }
    }

    fn scalar(
        &mut self,
        text: Cow<'t, str>,
        style: ScalarStyle,
        anchor: usize,
        tag: Option<&Tag>,
        span: Span,
    ) -> Result<Node<'t>, Fault> {
        let string = self.tag(tag, span, "str")?;
        let plain = matches!(style, ScalarStyle::Plain) && !string;
        let null = plain && matches!(&*text, "" | "~" | "null" | "Null" | "NULL");
        let value = if null { Value::Null } else { Value::Scalar { text, plain } };
        let node = Node { value, span };
        self.keep(anchor, &node)?;
        Ok(node)
    }

    /// Keeps a node that has an anchor, for the aliases that may follow.
    fn keep(&mut self, anchor: usize, node: &Node<'t>) -> Result<(), Fault> {
        if anchor > 0 {
            self.repeat(node)?;
            self.anchors.insert(anchor, node.clone());
        }
        Ok(())
    }

    /// Counts a copy of a node against the budget.
    fn repeat(&mut self, node: &Node<'t>) -> Result<(), Fault> {
        self.repeated += node.count();
        if self.repeated <= MAX_REPEATED {
            return Ok(());
        }
        let what = format!("anchors and aliases repeat more than {MAX_REPEATED} nodes");
        Err(Fault::error("alias-bomb", node.span, what)
            .hint("write what is meant, or let one step fan out with `for_each`"))
    }

    fn close(&mut self, open: Open<'t>, end: Span) -> Result<Node<'t>, Fault> {
        let (value, mut span, anchor) = match open {
            Open::List { nodes, span, anchor } => {
                let last = nodes.last().map(|node| node.span.end);
                (Value::List(nodes), Span { end: last.unwrap_or(span.end), ..span }, anchor)
            }
            Open::Map { entries, span, anchor, .. } => {
                let last = entries.last().map(|entry| entry.value.span.end.max(entry.key.span.end));
                (Value::Map(entries), Span { end: last.unwrap_or(span.end), ..span }, anchor)
            }
        };
        // In flow style the closing bracket belongs to it; in block style the end is the next token.
        let bracket = self.text.as_bytes().get(end.start as usize).copied();
        if matches!(bracket, Some(b']' | b'}')) && end.end > end.start {
            span.end = end.end;
        }
        span.end = span.end.max(span.start);
        let node = Node { value, span };
        self.keep(anchor, &node)?;
        Ok(node)
    }

    fn alias(&mut self, id: usize, span: Span, depth: usize) -> Result<Node<'t>, Fault> {
        let Some(node) = self.anchors.get(&id).cloned() else {
            return Err(Fault::error("alias", span, "this alias stands inside what it repeats"));
        };
        self.repeat(&node)?;
        if depth + node.depth() > MAX_DEPTH {
            return Err(too_deep(span));
        }
        Ok(node)
    }

    /// Whether a tag makes the scalar a string; any tag that YAML itself does not know is refused.
    fn tag(&self, tag: Option<&Tag>, span: Span, sort: &str) -> Result<bool, Fault> {
        let Some(tag) = tag else { return Ok(false) };
        match tag.core_suffix() {
            Some(suffix) if suffix == sort => Ok(suffix == "str"),
            _ if tag.original() == "!" => Ok(sort == "str"),
            _ => {
                let what = format!("the tag `{}` means nothing here", tag.original());
                Err(Fault::error("tag", span, what).hint("leave it out"))
            }
        }
    }
}

/// Puts a finished node where it belongs.
fn place<'t>(
    stack: &mut [Open<'t>],
    root: &mut Option<Node<'t>>,
    node: Node<'t>,
) -> Result<(), Fault> {
    match stack.last_mut() {
        None => *root = Some(node),
        Some(Open::List { nodes, .. }) => nodes.push(node),
        Some(Open::Map { entries, key, .. }) => match key.take() {
            Some(key) => entries.push(Entry { key, value: node }),
            None => match node.value {
                Value::Scalar { text, plain } if plain && text == "<<" => {
                    return Err(Fault::error(
                        "merge-key",
                        node.span,
                        "merge keys (`<<`) are not read",
                    )
                    .hint("write the fields out"));
                }
                Value::Scalar { text, .. } => *key = Some(Spanned { value: text, span: node.span }),
                _ => {
                    let what = format!("a key must be text, not {}", node.sort());
                    return Err(Fault::error("key", node.span, what));
                }
            },
        },
    }
    Ok(())
}

fn deeper(stack: &[Open<'_>], span: Span) -> Result<(), Fault> {
    if stack.len() < MAX_DEPTH { Ok(()) } else { Err(too_deep(span)) }
}

fn too_deep(span: Span) -> Fault {
    Fault::error("too-deep", span, format!("nested more than {MAX_DEPTH} levels deep"))
        .hint("is a bracket or an indentation wrong above?")
}

fn empty(text: &str) -> Fault {
    let what = if text.trim().is_empty() { "the file is empty" } else { "the file says nothing" };
    Fault::error("empty", Span::default(), what).hint("begin with `cutover: v1` or `estate: v1`")
}

/// What is probably meant where the parser gave up, for the traps that people do fall into.
fn syntax_hint(text: &str, at: usize, info: &str) -> Option<String> {
    let at = text.floor_char_boundary(at.min(text.len()));
    let start = text[..at].rfind('\n').map_or(0, |newline| newline + 1);
    let end = text[at..].find('\n').map_or(text.len(), |newline| at + newline);
    let here = &text[start..end];
    let before = text[..start].trim_end().rsplit('\n').next().unwrap_or("");
    let hint = if here.contains('\t') && here.trim_start_matches(' ').starts_with('\t') {
        "indent with spaces; a tab is not allowed"
    } else if [here, before].iter().any(|line| zone_in_flow(line)) {
        "inside `{ }` a time with its [zone] needs quotes"
    } else if [here, before].iter().any(|line| line.contains(": ${{") || line.contains("[${{")) {
        "quote text that begins with `${{`"
    } else if here.matches(": ").count() > 1 && !here.contains(['{', '"', '\'']) {
        "text that holds `: ` needs quotes"
    } else if info.contains("flow") {
        "is a bracket, a brace or a comma missing above?"
    } else {
        return None;
    };
    Some(hint.to_owned())
}

/// Whether a line holds `{ ... T08:30[Zone] ... }` without quotes.
fn zone_in_flow(line: &str) -> bool {
    line.find('{').is_some_and(|open| {
        line[open..].match_indices('[').any(|(at, _)| {
            line[open..open + at].ends_with(|c: char| c.is_ascii_digit() || c == 'Z')
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn code(text: &str) -> &'static str {
        parse(text).expect_err("must be refused").code
    }

    fn map<'n>(node: &'n Node<'_>) -> &'n [Entry<'n>] {
        match &node.value {
            Value::Map(entries) => entries,
            _ => panic!("not a map: {node:?}"),
        }
    }

    #[test]
    fn scalars_stay_as_written() {
        let text = "a: no\nb: 0755\nc: 4.20\nd: 'null'\ne: ~\nf: |\n  x: y\n";
        let root = parse(text).expect("good");
        let seen: Vec<_> = map(&root)
            .iter()
            .map(|entry| match &entry.value.value {
                Value::Scalar { text, plain } => format!("{text}/{plain}"),
                Value::Null => "null".into(),
                _ => "other".into(),
            })
            .collect();
        assert_eq!(
            seen,
            ["no/true", "0755/true", "4.20/true", "null/false", "null", "x: y\n/false"]
        );
    }

    #[test]
    fn spans_are_bytes_of_the_text() {
        let text = "ä: { b: [c, \"dé\"] }\nz: 1\n";
        let root = parse(text).expect("good");
        let outer = &map(&root)[0];
        let cut = |span: Span| &text[span.start as usize..span.end as usize];
        assert_eq!(cut(outer.key.span), "ä");
        assert_eq!(cut(outer.value.span), "{ b: [c, \"dé\"] }");
        let inner = &map(&outer.value)[0].value;
        assert_eq!(cut(inner.span), "[c, \"dé\"]");
        let Value::List(nodes) = &inner.value else { panic!("a list") };
        assert_eq!(cut(nodes[1].span), "\"dé\"");
    }

    #[test]
    fn equal_keys_are_both_kept() {
        assert_eq!(map(&parse("a: 1\na: 2\n").expect("good")).len(), 2);
    }

    #[test]
    fn aliases_repeat_within_bounds() {
        let root = parse("a: &x [1, 2]\nb: *x\n").expect("good");
        let (first, second) = (&map(&root)[0], &map(&root)[1]);
        assert_eq!(first.value, second.value);
        let mut bomb = String::from("a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n");
        for level in 1..9 {
            let again = vec![format!("*a{}", level - 1); 10].join(", ");
            bomb.push_str(&format!("a{level}: &a{level} [{again}]\n"));
        }
        assert_eq!(code(&bomb), "alias-bomb");
        assert!(matches!(code("a: &x [*x]\n"), "alias" | "syntax"));
        assert_eq!(code("a: *nowhere\n"), "syntax");
    }

    #[test]
    fn depth_ends_in_an_error() {
        assert_eq!(code(&"[".repeat(1_000_000)), "too-deep");
        assert_eq!(code(&format!("{}x", "- ".repeat(100_000))), "too-deep");
        let steps: String = (0..2000).map(|n| format!("{}k:\n", " ".repeat(n))).collect();
        assert_eq!(code(&steps), "too-deep");
        let mut text = String::from("a0: &a0 [x]\n");
        for level in 1..200 {
            text.push_str(&format!("a{level}: &a{level} [*a{}]\n", level - 1));
        }
        assert_eq!(code(&text), "too-deep");
    }

    #[test]
    fn what_is_no_single_plain_document_is_refused() {
        assert_eq!(code(""), "empty");
        assert_eq!(code("# only a comment\n"), "empty");
        assert_eq!(code("---\n...\n"), "empty");
        assert_eq!(code("a: 1\n---\nb: 2\n"), "documents");
        assert_eq!(code("a: !include b\n"), "tag");
        assert_eq!(code("<<: { a: 1 }\n"), "merge-key");
        assert_eq!(code("[a]: 1\n"), "key");
        assert_eq!(code("a: b: c\n"), "syntax");
    }

    #[test]
    fn the_known_traps_have_a_hint() {
        let hint = |text| parse(text).expect_err("refused").hint.unwrap_or_default();
        assert!(hint("w: { opens: 2019-04-06T08:30[UTC] }\n").contains("quotes"));
        assert!(hint("a:\n\tb: 1\n").contains("tab"));
    }
}
