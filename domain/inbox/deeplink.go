package inbox

import (
	"cmp"
	"regexp"
	"slices"
	"strings"
	"time"
	"unicode"

	"accord/domain/fault"
)

// TargetKey names a deep-link target of the catalogue.
type TargetKey string

var targetKeyPattern = regexp.MustCompile(`^[A-Za-z0-9._-]{1,64}$`)

// ParseTargetKey checks that s is 1 to 64 letters, digits or any of . _ -, and not . or .., which no path can name: clients
// and proxies take them for the place itself and the one above.
func ParseTargetKey(s string) (TargetKey, error) {
	if !targetKeyPattern.MatchString(s) || s == "." || s == ".." {
		return "", fault.OnField("key", "invalid_key", "must be 1 to 64 letters, digits or any of . _ -, and not . or ..")
	}
	return TargetKey(s), nil
}

// maxLink bounds links and patterns, in bytes.
const maxLink = 2048

var (
	schemePattern   = regexp.MustCompile(`^[a-z][a-z0-9+.-]{0,31}$`)
	variablePattern = regexp.MustCompile(`^\{[A-Za-z_][A-Za-z0-9_]{0,31}\}$`)
	// scripting schemes are no places in an app: whoever opens them runs something.
	scripting = []string{"javascript", "data", "vbscript", "file", "blob"}
)

// Pattern is a link with variables: app://orders/{order_id}. A variable stands for exactly one segment.
type Pattern struct {
	text     string
	scheme   string
	segments []string
}

// ParsePattern checks a pattern. Errors are on the field pattern.
func ParsePattern(s string) (Pattern, error) {
	bad := func(rule string) (Pattern, error) {
		return Pattern{}, fault.OnField("pattern", "invalid_pattern", "%s", rule)
	}
	scheme, rest, ok := strings.Cut(s, "://")
	switch {
	case len(s) > maxLink:
		return bad("may have at most 2048 bytes")
	case !ok || !schemePattern.MatchString(scheme):
		return bad("must start with a scheme in lower case and ://")
	case slices.Contains(scripting, scheme):
		return bad("must not have a scheme that runs scripts or reads files")
	case strings.ContainsAny(s, "?#"):
		return bad("must not have a query or a fragment; links may have them")
	}
	p := Pattern{text: s, scheme: scheme, segments: strings.Split(rest, "/")}
	for i, segment := range p.segments {
		variable := variablePattern.MatchString(segment)
		switch {
		case !variable && !plainSegment(segment):
			return bad("must have segments that are either text or one {variable}, none of them empty, . or ..")
		case variable && slices.Contains(p.segments[:i], segment):
			return bad("must not use a variable twice")
		case variable && i == 0:
			return bad("must say the first segment in full")
		}
	}
	return p, nil
}

func (p Pattern) String() string { return p.text }

// plainSegment is a segment of a path that says what it seems to say.
func plainSegment(s string) bool {
	return s != "" && s != "." && s != ".." && !strings.ContainsFunc(s, func(r rune) bool {
		return unicode.IsControl(r) || unicode.IsSpace(r) || strings.ContainsRune(`{}\"<>`+"`^|", r) || r == unicode.ReplacementChar
	})
}

// splitLink takes a link apart; query and fragment do not choose the place.
func splitLink(link string) (scheme string, segments []string, ok bool) {
	scheme, rest, ok := strings.Cut(link, "://")
	if !ok || len(link) > maxLink || strings.ContainsFunc(link, func(r rune) bool {
		return unicode.IsControl(r) || unicode.IsSpace(r) || strings.ContainsRune(`\"<>`+"`^|", r) || r == unicode.ReplacementChar
	}) {
		return "", nil, false
	}
	if i := strings.IndexAny(rest, "?#"); i >= 0 {
		rest = rest[:i]
	}
	return strings.ToLower(scheme), strings.Split(rest, "/"), true
}

// Matches reports whether the link leads to a place of this pattern.
func (p Pattern) Matches(link string) bool {
	scheme, segments, ok := splitLink(link)
	return ok && p.matches(scheme, segments)
}

func (p Pattern) matches(scheme string, segments []string) bool {
	if scheme != p.scheme || len(segments) != len(p.segments) {
		return false
	}
	for i, want := range p.segments {
		if strings.HasPrefix(want, "{") {
			if !plainSegment(segments[i]) {
				return false
			}
		} else if want != segments[i] {
			return false
		}
	}
	return true
}

// compareSpecific is negative when p says more than o about the links that both match: text before a variable, from the left.
func (p Pattern) compareSpecific(o Pattern) int {
	for i := range min(len(p.segments), len(o.segments)) {
		variable, other := strings.HasPrefix(p.segments[i], "{"), strings.HasPrefix(o.segments[i], "{")
		if variable != other {
			if other {
				return -1
			}
			return 1
		}
	}
	return 0
}

// overlaps reports whether some link leads to both.
func (p Pattern) overlaps(o Pattern) bool {
	if p.scheme != o.scheme || len(p.segments) != len(o.segments) {
		return false
	}
	for i, mine := range p.segments {
		if theirs := o.segments[i]; mine != theirs && !strings.HasPrefix(mine, "{") && !strings.HasPrefix(theirs, "{") {
			return false
		}
	}
	return true
}

// LinkTarget is a place in the app that messages may link to.
type LinkTarget struct {
	Key     TargetKey
	Pattern Pattern
	Active  bool
	// From and Until bound when it is active, Until not included; zero for no bound.
	From, Until time.Time
	UpdatedAt   time.Time
	PatternAt   time.Time // when it got this pattern
}

// NewLinkTarget checks that the window is one.
func NewLinkTarget(key TargetKey, p Pattern, active bool, from, until time.Time) (LinkTarget, error) {
	if !from.IsZero() && !until.IsZero() && !until.After(from) {
		return LinkTarget{}, fault.OnField("active_until", "before_start", "must be after active_from")
	}
	return LinkTarget{Key: key, Pattern: p, Active: active, From: from, Until: until}, nil
}

// ActiveAt reports whether the link may be handed out.
func (t LinkTarget) ActiveAt(now time.Time) bool {
	return t.Active && !now.Before(t.From) && (t.Until.IsZero() || now.Before(t.Until))
}

// nextChange is when time alone makes the target active or inactive, zero for never.
func (t LinkTarget) nextChange(now time.Time) time.Time {
	switch {
	case !t.Active:
		return time.Time{}
	case now.Before(t.From):
		return t.From
	case now.Before(t.Until):
		return t.Until
	}
	return time.Time{}
}

// Links is the catalogue of deep-link targets. It is not changed once built.
type Links struct {
	targets []LinkTarget // the more specific first, then by key
	byKey   map[TargetKey]LinkTarget
}

// NewLinks builds a catalogue.
func NewLinks(targets ...LinkTarget) *Links {
	l := &Links{targets: slices.Clone(targets), byKey: make(map[TargetKey]LinkTarget, len(targets))}
	slices.SortFunc(l.targets, func(a, b LinkTarget) int {
		// Patterns of different lengths match no link both, but comparing them first makes it an order.
		return cmp.Or(cmp.Compare(len(a.Pattern.segments), len(b.Pattern.segments)), a.Pattern.compareSpecific(b.Pattern), cmp.Compare(a.Key, b.Key))
	})
	for _, t := range targets {
		l.byKey[t.Key] = t
	}
	return l
}

// All lists the targets by key.
func (l *Links) All() []LinkTarget {
	return slices.SortedFunc(slices.Values(l.targets), func(a, b LinkTarget) int { return cmp.Compare(a.Key, b.Key) })
}

// Target finds one by key.
func (l *Links) Target(key TargetKey) (LinkTarget, bool) {
	t, ok := l.byKey[key]
	return t, ok
}

// Resolve finds the target that a link leads to: where several match, the one that says most about it.
func (l *Links) Resolve(link string) (LinkTarget, bool) {
	scheme, segments, ok := splitLink(link)
	if !ok {
		return LinkTarget{}, false
	}
	for _, t := range l.targets {
		if t.Pattern.matches(scheme, segments) {
			return t, true
		}
	}
	return LinkTarget{}, false
}

// Active reports whether a link may be handed out: it leads to a target that is active.
func (l *Links) Active(link string, now time.Time) bool {
	t, ok := l.Resolve(link)
	return ok && t.ActiveAt(now)
}

// StillActive reports whether a link that was found to lead to one of the targets may be handed out: one of them is still a
// place that it leads to, and so is what says most about it now. A link does not go over to a wider pattern when its target
// is taken away.
func (l *Links) StillActive(link string, found []TargetKey, now time.Time) bool {
	scheme, segments, ok := splitLink(link)
	if !ok {
		return false
	}
	first, still := true, false
	for _, t := range l.targets {
		if !t.Pattern.matches(scheme, segments) {
			continue
		}
		active := t.ActiveAt(now)
		if first && !active {
			return false
		}
		first, still = false, still || active && slices.Contains(found, t.Key)
	}
	return still
}

func (l *Links) shadowed(t LinkTarget, now time.Time) bool {
	for _, o := range l.targets {
		if o.Key == t.Key {
			break
		}
		if !o.ActiveAt(now) && o.Pattern.overlaps(t.Pattern) {
			return true
		}
	}
	return false
}

// CertainSince tells for which messages every link that was found to lead to the target is still active, so that none has
// to be looked at again: those published since then, or none when ok is false. That takes that the target is active, with
// the pattern that it had then, and that whatever says more about some of those links is active, too.
func (l *Links) CertainSince(key TargetKey, now time.Time) (since time.Time, ok bool) {
	t, ok := l.byKey[key]
	if !ok || !t.ActiveAt(now) || l.shadowed(t, now) {
		return time.Time{}, false
	}
	return t.PatternAt, true
}

// Related lists the target itself and all others that some link leads to as well as to it: a change of the one may change
// where links of the others lead. A target that is not there is related to itself alone.
func (l *Links) Related(key TargetKey) []TargetKey {
	out := []TargetKey{key}
	if t, ok := l.byKey[key]; ok {
		for _, o := range l.targets {
			if o.Key != key && o.Pattern.overlaps(t.Pattern) {
				out = append(out, o.Key)
			}
		}
	}
	return out
}

// NextChange is when time alone makes some target active or inactive next, zero for never.
func (l *Links) NextChange(now time.Time) time.Time {
	var next time.Time
	for _, t := range l.targets {
		next = earliest(next, t.nextChange(now))
	}
	return next
}
