package html

import (
	"fmt"
	"math"
	"regexp"
	"strconv"
	"testing"
)

// palette is the colours of the style sheet by name, in light and in dark.
func palette(t *testing.T) [2]map[string][3]float64 {
	t.Helper()
	both := [2]map[string][3]float64{{}, {}}
	for _, m := range regexp.MustCompile(`--([\w-]+): light-dark\(#(\w{6}), #(\w{6})\);`).FindAllStringSubmatch(styleCSS, -1) {
		for i := range both {
			n, err := strconv.ParseUint(m[2+i], 16, 32)
			if err != nil {
				t.Fatal(err)
			}
			both[i][m[1]] = [3]float64{float64(n >> 16), float64(n >> 8 & 0xff), float64(n & 0xff)}
		}
	}
	return both
}

// contrast is WCAG's ratio of the luminances of two colours.
func contrast(a, b [3]float64) float64 {
	luminance := func(c [3]float64) float64 {
		for i, v := range c {
			if v /= 255; v <= 0.04045 {
				c[i] = v / 12.92
			} else {
				c[i] = math.Pow((v+0.055)/1.055, 2.4)
			}
		}
		return 0.2126*c[0] + 0.7152*c[1] + 0.0722*c[2]
	}
	la, lb := luminance(a), luminance(b)
	return (max(la, lb) + 0.05) / (min(la, lb) + 0.05)
}

func TestTextHasTheContrastOfLevelAA(t *testing.T) {
	if got := fmt.Sprintf("%.2f %.2f", contrast([3]float64{}, [3]float64{255, 255, 255}), contrast([3]float64{119, 119, 119}, [3]float64{255, 255, 255})); got != "21.00 4.48" {
		t.Fatalf("contrast of black and of #777 on white: %s", got)
	}
	statuses := []string{"pass", "warn", "flake", "fail", "error", "skip", "untested"}
	pairs := [][2]string{}
	for _, ground := range []string{"bg", "surface", "raised"} {
		for _, ink := range append([]string{"ink", "muted", "accent"}, statuses...) {
			pairs = append(pairs, [2]string{ink, ground})
		}
	}
	for _, s := range statuses {
		for _, ink := range []string{s, "ink", "muted", "accent"} {
			pairs = append(pairs, [2]string{ink, s + "-soft"})
		}
		pairs = append(pairs, [2]string{"surface", s}) // the sign of the verdict
	}
	for i, colours := range palette(t) {
		name := []string{"light", "dark"}[i]
		for _, p := range pairs {
			ink, ok := colours[p[0]]
			ground, found := colours[p[1]]
			if !ok || !found {
				t.Fatalf("the style sheet has no %q or no %q", p[0], p[1])
			}
			if c := contrast(ink, ground); c < 4.5 {
				t.Errorf("%s: %s on %s has a contrast of %.2f, want 4.5", name, p[0], p[1], c)
			}
		}
	}
}

// Colours that the palette does not have would escape the test of it.
func TestEveryColourIsOfThePalette(t *testing.T) {
	rest := regexp.MustCompile(`(?m)^  --[\w-]+: light-dark\(.*$`).ReplaceAllString(styleCSS, "")
	rest = regexp.MustCompile(`url\(#\w+\)|#(search|said|hatch)\b`).ReplaceAllString(rest, "")
	if found := regexp.MustCompile(`#[0-9a-f]{3,8}\b|rgb|hsl`).FindAllString(rest, -1); len(found) != 1 || found[0] != "#0008" { // behind a dialog
		t.Errorf("colours beside the palette: %q", found)
	}
}
