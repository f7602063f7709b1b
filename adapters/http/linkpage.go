package httpapi

import (
	"bytes"
	"crypto/sha256"
	"embed"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"html/template"
	"io/fs"
	"net/http"
	"path"
	"slices"
	"strings"

	"github.com/gin-gonic/gin"
	"golang.org/x/text/language"
)

// A language is a file here, named by its tag, with the keys of en.json. There is nothing else to do to add one.
//
//go:embed languages/*.json
var languageFiles embed.FS

var (
	//go:embed linkpage.html.tmpl
	linkPageTemplate string
	//go:embed linkpage.css
	linkPageStyle string
)

// linkPages shows the pages behind the links in e-mails. They need nothing from anywhere else, no script and no cookie.
type linkPages struct {
	brand    string
	template *template.Template
	policy   string
	tags     []language.Tag // the first is for whoever speaks none of them
	matcher  language.Matcher
	texts    []map[string]string // by tag
}

// linkPage is what one page shows, by the keys of its texts.
type linkPage struct {
	status  int
	title   string
	text    []string
	topic   string
	buttons []linkButton
}

type linkButton struct{ name, value, label string }

func newLinkPages(brand string) (*linkPages, error) {
	t, err := template.New("link").Parse(linkPageTemplate)
	if err != nil {
		return nil, fmt.Errorf("pages of links: %w", err)
	}
	sum := sha256.Sum256([]byte(linkPageStyle))
	p := &linkPages{brand: brand, template: t, policy: "default-src 'none'; style-src 'sha256-" + base64.StdEncoding.EncodeToString(sum[:]) +
		"'; img-src data:; form-action 'self'; frame-ancestors 'none'; base-uri 'none'"}
	names, err := fs.Glob(languageFiles, "languages/*.json")
	if err != nil {
		return nil, fmt.Errorf("pages of links: %w", err)
	}
	slices.SortFunc(names, func(a, b string) int { return strings.Compare(englishFirst(a), englishFirst(b)) })
	for _, name := range names {
		if err := p.add(name); err != nil {
			return nil, fmt.Errorf("pages of links, %s: %w", name, err)
		}
	}
	p.matcher = language.NewMatcher(p.tags)
	return p, nil
}

func englishFirst(name string) string {
	if name == "languages/en.json" {
		return ""
	}
	return name
}

func (p *linkPages) add(name string) error {
	tag, err := language.Parse(strings.TrimSuffix(path.Base(name), ".json"))
	if err != nil {
		return err
	}
	raw, err := languageFiles.ReadFile(name)
	if err != nil {
		return err
	}
	texts := map[string]string{}
	if err := json.Unmarshal(raw, &texts); err != nil {
		return err
	}
	p.tags, p.texts = append(p.tags, tag), append(p.texts, texts)
	return nil
}

// show writes the page in the first language that the customer's device, then the browser, asks for.
func (p *linkPages) show(g *gin.Context, page linkPage, locale string) {
	_, i := language.MatchStrings(p.matcher, strings.ReplaceAll(locale, "_", "-"), g.GetHeader("Accept-Language"))
	texts := p.texts[i]
	fill := strings.NewReplacer("{brand}", p.brand, "{topic}", page.topic) // what is filled in is not looked at again
	data := struct {
		Language, Brand, Title string
		Style                  template.CSS
		Text                   []string
		Buttons                []struct {
			Name, Value, Label string
			Plain              bool
		}
	}{Language: p.tags[i].String(), Brand: p.brand, Title: texts[page.title], Style: template.CSS(linkPageStyle)} //nolint:gosec // our own file
	for _, key := range page.text {
		data.Text = append(data.Text, fill.Replace(texts[key]))
	}
	for n, b := range page.buttons {
		data.Buttons = append(data.Buttons, struct {
			Name, Value, Label string
			Plain              bool
		}{b.name, b.value, fill.Replace(texts[b.label]), n > 0})
	}
	var b bytes.Buffer
	if err := p.template.Execute(&b, data); err != nil {
		_ = g.Error(err)
		internalProblem().answer(g)
		return
	}
	h := g.Writer.Header()
	h.Set("Content-Security-Policy", p.policy)
	h.Set("Content-Language", data.Language)
	h.Set("Cache-Control", "no-store")
	h.Set("Referrer-Policy", "no-referrer")
	h.Set("X-Robots-Tag", "noindex, nofollow")
	if page.status == http.StatusServiceUnavailable {
		h.Set("Retry-After", retryAfter)
	}
	g.Data(page.status, "text/html; charset=utf-8", b.Bytes())
}
