//! What declares a setting once, and makes everything else from that.

use serde_json::Value;

pub use super::table::SETTINGS;

/// A default that is not known before the process runs: the host's name.
pub(super) const HOST_NAME: &str = "the host's name";

/// A setting, as help, tables and messages speak of it.
#[derive(Debug, Clone, Copy)]
pub struct Setting {
    /// `section.some_key`.
    pub key: &'static str,
    /// Its section.
    pub section: &'static str,
    /// What it does, in a line of Markdown.
    pub doc: &'static str,
    /// Its default, as one would write it.
    pub default: &'static str,
    /// What values it takes.
    pub traits: Traits,
}

impl Setting {
    /// Its environment variable. For a map it is what the variables' names begin with.
    #[must_use]
    pub fn variable(&self) -> String {
        format!("{}{}", super::PREFIX, self.key.replace('.', "_").to_ascii_uppercase())
    }

    /// Its flag, without the dashes. For a map it is what the flags' names begin with.
    #[must_use]
    pub fn flag(&self) -> String {
        self.key.replace(['.', '_'], "-")
    }

    /// The setting with this key.
    #[must_use]
    pub fn find(key: &str) -> Option<&'static Self> {
        SETTINGS.iter().find(|setting| setting.key == key)
    }
}

/// What the values of a setting are like.
#[derive(Debug, Clone, Copy, Default)]
pub struct Traits {
    /// What is accepted, to follow "accepted:".
    pub accepts: &'static str,
    /// What stands for the value in help.
    pub placeholder: &'static str,
    /// How it is written.
    pub shape: Shape,
    /// Whether it is shown masked.
    pub secret: bool,
}

/// How a value is written.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Shape {
    /// One value.
    #[default]
    One,
    /// A number that may be a fraction, whichever way it is spelled.
    Fraction,
    /// `true` or `false`; the bare flag means `true`.
    Switch,
    /// Several, with commas in between; an array in the file.
    List,
    /// Names and their values; a table in the file.
    Map,
    /// Several tables in the file; one JSON text elsewhere. Each line of a reason why it cannot be
    /// read may begin with the place that it is about: `[0].topic: …`.
    Tables,
}

/// How values of one kind are read and shown.
#[derive(Debug)]
pub(super) struct Kind<T> {
    /// What they are like.
    pub(super) traits: Traits,
    /// Reads one; says why it cannot, without repeating it.
    pub(super) parse: fn(&str) -> Result<T, String>,
    /// Shows one, masked where it is secret.
    pub(super) show: fn(&T) -> Value,
}

/// Declares all settings. For each section: its doc, its field in [`Config`](super::Config) and its
/// struct; for each setting: its doc line, field, type, kind and default.
macro_rules! settings {
    ($(
        $(#[doc = $section_doc:literal])+
        $section:ident: $Section:ident {
            $( $(#[doc = $doc:literal])+ $field:ident: $type:ty = $kind:expr, $default:expr; )+
        }
    )+) => {
        /// All settings. `section.some_key` is `TIDEGATE_SECTION_SOME_KEY` and
        /// `--section-some-key`.
        #[derive(Clone)]
        pub struct Config {
            $( $(#[doc = $section_doc])+ pub $section: $Section, )+
            /// Where those came from that were set.
            pub(super) origins: std::collections::BTreeMap<String, Origin>,
        }

        $(
            $(#[doc = $section_doc])+
            #[derive(Clone)]
            pub struct $Section { $( $(#[doc = $doc])+ pub $field: $type, )+ }

            // Not derived: an option or a URL may hold a password.
            impl std::fmt::Debug for $Section {
                fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                    f.debug_struct(stringify!($Section))
                        $( .field(stringify!($field), &($kind.show)(&self.$field)) )+
                        .finish()
                }
            }
        )+

        impl std::fmt::Debug for Config {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.debug_struct("Config")
                    $( .field(stringify!($section), &self.$section) )+
                    .finish_non_exhaustive()
            }
        }

        /// All settings, in the order of the documentation.
        pub static SETTINGS: &[Setting] = &[$($(
            Setting {
                key: concat!(stringify!($section), ".", stringify!($field)),
                section: stringify!($section),
                doc: concat!($($doc),+).trim_ascii(),
                default: $default,
                traits: $kind.traits,
            },
        )+)+];

        impl Config {
            /// Makes every setting from what was given for it, or else from its default.
            pub(super) fn assemble(given: &mut Given) -> Self {
                Self {
                    $( $section: $Section {
                        $( $field: given.take(
                            concat!(stringify!($section), ".", stringify!($field)),
                            &$kind,
                            $default,
                        ), )+
                    }, )+
                    origins: given.origins(),
                }
            }

            /// The values as they may be shown, in the order of [`SETTINGS`].
            pub(super) fn values(&self) -> Vec<serde_json::Value> {
                vec![$($( ($kind.show)(&self.$section.$field), )+)+]
            }
        }
    };
}

pub(super) use settings;
