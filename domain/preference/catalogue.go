package preference

import (
	"fmt"
	"slices"
	"time"
)

// Channel is a push topic the customer can switch. A required one is always on. Purpose is empty when the channel is
// linked to no consent.
type Channel struct {
	Key      ChannelKey
	Required bool
	Purpose  PurposeID
}

// Catalogue is what can be chosen: the channels in the order in which they are shown, and the purpose that the e-mail
// marketing subscription is linked to (empty for none). It never changes while a process runs.
type Catalogue struct {
	channels     []Channel
	byKey        map[ChannelKey]Channel
	emailPurpose PurposeID
	topics       []Topic
	confirm      time.Duration // how long a subscription waits to be confirmed; 0 for no double opt-in
}

// NewCatalogue refuses no channels, an empty key and a key given twice.
func NewCatalogue(emailPurpose PurposeID, channels ...Channel) (*Catalogue, error) {
	c := &Catalogue{channels: slices.Clone(channels), byKey: make(map[ChannelKey]Channel, len(channels)), emailPurpose: emailPurpose}
	for _, ch := range channels {
		if _, twice := c.byKey[ch.Key]; twice || ch.Key == "" {
			return nil, fmt.Errorf("channel %q: keys must be unique and not empty", ch.Key)
		}
		c.byKey[ch.Key] = ch
	}
	if len(channels) == 0 {
		return nil, fmt.Errorf("a catalogue needs at least one channel")
	}
	return c, nil
}

// Channels in the order in which they are shown.
func (c *Catalogue) Channels() []Channel { return slices.Clone(c.channels) }

// Channel finds a channel by its key.
func (c *Catalogue) Channel(key ChannelKey) (Channel, bool) {
	ch, ok := c.byKey[key]
	return ch, ok
}

// EmailPurpose is the purpose that e-mail marketing is linked to, empty for none.
func (c *Catalogue) EmailPurpose() PurposeID { return c.emailPurpose }

// Purposes lists each linked purpose once.
func (c *Catalogue) Purposes() []PurposeID {
	var out []PurposeID
	for _, ch := range c.channels {
		if ch.Purpose != "" && !slices.Contains(out, ch.Purpose) {
			out = append(out, ch.Purpose)
		}
	}
	if c.emailPurpose != "" && !slices.Contains(out, c.emailPurpose) {
		out = append(out, c.emailPurpose)
	}
	return out
}
