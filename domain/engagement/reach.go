package engagement

import (
	"slices"
	"strings"
	"time"

	"accord/domain/preference"
)

// Reach is how a customer can be reached, as far as the measures ask. The zero Reach is a customer nobody has heard of,
// or who is gone.
type Reach struct {
	known bool
	words []string // sorted and each once, see ReachOf
}

const (
	hasDevice = "device"
	byEmail   = "email"
	byPush    = "push"
	onChannel = "push:" // and the channel's key
)

// ReachOf is what preferences that were applied mean for the measures. Whether something reaches the customer is asked of
// the preferences themselves, so that a customer is opted in exactly when we may send: the customer's switches, each
// device's own and its permission, and consent. Holds are left out: they belong to changes that are not settled. So are quiet hours: they
// tell when, not whether.
func ReachOf(p preference.Preferences) Reach {
	r := Reach{known: true}
	if len(p.Devices()) > 0 {
		r.words = append(r.words, hasDevice)
	}
	if len(p.EmailBlockers("", nil)) == 0 {
		r.words = append(r.words, byEmail)
	}
	for _, ch := range p.Catalogue().Channels() {
		if p.Deliverability(ch, nil, time.Time{}).Deliverable {
			r.words = append(r.words, onChannel+string(ch.Key), byPush)
		}
	}
	return KnownReach(r.words)
}

// KnownReach takes back what Words gave.
func KnownReach(words []string) Reach {
	words = slices.Clone(words)
	slices.Sort(words)
	return Reach{known: true, words: slices.Compact(words)}
}

// Words are the stored form of what is not zero.
func (r Reach) Words() []string { return append([]string{}, r.words...) }

func (r Reach) has(word string) bool {
	_, found := slices.BinarySearch(r.words, word)
	return found
}

// Step is one difference that a change makes to what is counted. Channel is empty for what concerns push as a whole, and
// for what is not about push.
type Step struct {
	Kind    Kind
	Channel string
	Count   int64
}

// StepsTo lists what becomes different when the customer's reach was r and is next. For push it also says which way the
// customer went: in, or out. Whoever has no device left has neither opted out nor could opt in again without one, and a
// customer who is gone has not opted out either; both only leave the number of those who can be reached.
func (r Reach) StepsTo(next Reach) []Step {
	var out []Step
	add := func(k Kind, channel string, was, is bool) {
		switch {
		case is && !was:
			out = append(out, Step{k, channel, 1})
		case was && !is:
			out = append(out, Step{k, channel, -1})
		}
	}
	add(CustomerKnown, "", r.known, next.known)
	add(CustomerWithDevice, "", r.has(hasDevice), next.has(hasDevice))
	add(EmailOn, "", r.has(byEmail), next.has(byEmail))
	for _, word := range slices.Compact(slices.Sorted(slices.Values(append(r.Words(), next.words...)))) {
		channel, isChannel := strings.CutPrefix(word, onChannel)
		if word == byPush {
			channel, isChannel = "", true
		}
		was, is := r.has(word), next.has(word)
		if !isChannel || was == is {
			continue
		}
		add(PushOn, channel, was, is)
		switch {
		case is:
			out = append(out, Step{PushIn, channel, 1})
		case next.has(hasDevice):
			out = append(out, Step{PushOut, channel, 1})
		}
	}
	return out
}
