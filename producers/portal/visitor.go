package portal

import (
	"net/http"
	"strings"
)

// scanners are words in the User-Agent of programs that follow the links in a mail: scanners at mail gateways, previews in
// chats, libraries. Lower case.
var scanners = [...]string{
	"bot", "crawl", "spider", "scan", "preview", "proofpoint", "mimecast", "barracuda", "safelinks", "trendmicro", "slack",
	"facebookexternalhit", "whatsapp", "curl", "wget", "python", "okhttp", "go-http-client", "java/", "headless",
}

// automated guesses whether a program rather than a person opened a link. It decides nothing but a label in the funnel, so
// it may be wrong in both directions. A person's browser says which languages it wants and calls itself Mozilla; it does
// not announce a prefetch; and where it is of a kind that sends Sec-Fetch-Mode (every Chromium since 2019, to https and to
// localhost), the mode is a navigation.
func automated(r *http.Request, secure bool) bool {
	agent := strings.ToLower(r.UserAgent())
	if !strings.HasPrefix(agent, "mozilla/") || r.Header.Get("Accept-Language") == "" {
		return true
	}
	for _, word := range scanners {
		if strings.Contains(agent, word) {
			return true
		}
	}
	if strings.Contains(r.Header.Get("Sec-Purpose")+r.Header.Get("Purpose")+r.Header.Get("X-Moz"), "prefetch") {
		return true
	}
	mode := r.Header.Get("Sec-Fetch-Mode")
	if mode == "" {
		return secure && strings.Contains(agent, "chrome/")
	}
	return mode != "navigate"
}
