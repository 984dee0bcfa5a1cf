package main

import (
	"fmt"
	"html"
	"math"
	"strings"
)

// The picture's measures, in pixels. The axis is logarithmic, from a quarter to 32 times.
const (
	left, width, line, head = 190, 560, 22, 74
	least, most             = 0.25, 32.0
)

func x(times float64) float64 {
	t := min(max(times, least), most)
	return left + width*math.Log2(t/least)/math.Log2(most/least)
}

// draw makes one bar a metric: how many times better than loopback, from the line of
// "as fast" to the right; marks stand where the floor and the target are.
func draw(rows []row, title string) string {
	var b strings.Builder
	n := 0
	for _, r := range rows {
		if r.times("loopback") > 0 {
			n++
		}
	}
	h := head + n*line + 30
	fmt.Fprintf(&b, `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %d %d" width="%d" height="%d" font-family="DejaVu Sans,Verdana,sans-serif" font-size="12">`+"\n", left+width+70, h, left+width+70, h)
	fmt.Fprintf(&b, `<rect width="100%%" height="100%%" fill="#ffffff"/><text x="16" y="24" font-size="16" font-weight="bold">Times faster than go-fuse's loopback</text>`+"\n")
	fmt.Fprintf(&b, `<text x="16" y="44" fill="#555">%s</text>`+"\n", html.EscapeString(title))
	for t := least; t <= most; t *= 2 {
		stroke := "#e4e4e4"
		if t == 1 {
			stroke = "#555"
		}
		fmt.Fprintf(&b, `<line x1="%.1f" x2="%.1f" y1="%d" y2="%d" stroke="%s"/><text x="%.1f" y="%d" text-anchor="middle" fill="#555" font-size="10">%gx</text>`+"\n", x(t), x(t), head-8, h-24, stroke, x(t), h-10, t)
	}
	y := head
	for _, r := range rows {
		t := r.times("loopback")
		if t == 0 {
			continue
		}
		fill := map[string]string{"target": "#2c7fb8", "floor": "#7fcdbb", "below": "#d95f0e"}[r.verdict()]
		from, to := min(x(1), x(t)), max(x(1), x(t))
		fmt.Fprintf(&b, `<text x="%d" y="%d" text-anchor="end">%s</text><rect x="%.1f" y="%d" width="%.1f" height="%d" fill="%s"/>`, left-8, y+11, html.EscapeString(r.metric), from, y, max(to-from, 1), line-8, fill)
		fmt.Fprintf(&b, `<text x="%.1f" y="%d" fill="#222" font-size="11">%.2g</text>`, max(x(t), x(1))+5, y+11, t)
		if m, ok := bounds[r.metric]; ok {
			fmt.Fprintf(&b, `<line x1="%.1f" x2="%.1f" y1="%d" y2="%d" stroke="#000" stroke-width="2"/><line x1="%.1f" x2="%.1f" y1="%d" y2="%d" stroke="#000" stroke-width="1" stroke-dasharray="2,2"/>`, x(m.floor), x(m.floor), y-2, y+line-6, x(m.target), x(m.target), y-2, y+line-6)
		}
		b.WriteString("\n")
		y += line
	}
	fmt.Fprintf(&b, `<text x="16" y="62" fill="#555" font-size="11">blue: target reached · green: floor reached · orange: below it · thick mark: floor, dashed: target</text>`+"\n</svg>\n")
	return b.String()
}
