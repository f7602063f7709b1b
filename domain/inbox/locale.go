package inbox

import (
	"cmp"
	"slices"
	"strings"
)

// In is the content in the first of the languages that there is a text for, given the most wanted first. A tag that has no
// text of its own is tried without its last part (RFC 4647, lookup). locale is empty when the text's language is unknown.
func (c Content) In(wanted []string) (text Text, actions []Action, locale string) {
	for _, tag := range wanted {
		for ; tag != ""; tag = shorterTag(tag) {
			if strings.EqualFold(tag, c.Locale) {
				return c.Text, c.Actions, c.Locale
			}
			for name, t := range c.Variants {
				if strings.EqualFold(tag, name) {
					return t, titled(c.Actions, t.Actions), name
				}
			}
		}
	}
	return c.Text, c.Actions, c.Locale
}

func titled(actions []Action, titles map[string]string) []Action {
	out := slices.Clone(actions)
	for i, a := range out {
		out[i].Title = cmp.Or(titles[a.ID], a.Title)
	}
	return out
}

// shorterTag leaves the last part of a language tag out, and a single letter before it, which means nothing by itself.
func shorterTag(tag string) string {
	i := strings.LastIndexByte(tag, '-')
	if i < 0 {
		return ""
	}
	tag = tag[:i]
	if i = strings.LastIndexByte(tag, '-'); i == len(tag)-2 && i >= 0 {
		tag = tag[:i]
	}
	return tag
}
