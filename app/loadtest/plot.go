package main

import (
	"fmt"
	"image/color"
	"os"
	"strconv"

	"gonum.org/v1/plot"
	"gonum.org/v1/plot/plotter"
	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"
	"gonum.org/v1/plot/vg/vgsvg"
)

// line is one curve of a plot.
type line struct {
	name string
	xs   []float64
	ys   []float64
}

// panel is one plot of those that share a drawing.
type panel struct {
	title, x, y string
	lines       []line
	logarithmic bool      // to the right
	ticks       []float64 // on the x axis; by itself when empty
	from        float64   // a mark on the x axis, 0 for none
}

// drawing puts panels beside each other into an SVG file.
func drawing(path string, panels ...panel) error {
	const width, height = 5.2 * vg.Inch, 3.4 * vg.Inch
	canvas := vgsvg.New(width*vg.Length(len(panels)), height)
	tiles := draw.Tiles{Rows: 1, Cols: len(panels), PadX: vg.Points(14), PadTop: vg.Points(4), PadBottom: vg.Points(4), PadLeft: vg.Points(4), PadRight: vg.Points(8)}
	row := make([]*plot.Plot, len(panels))
	for i, p := range panels {
		var err error
		if row[i], err = p.plot(); err != nil {
			return fmt.Errorf("%s: %w", p.title, err)
		}
	}
	for i, c := range plot.Align([][]*plot.Plot{row}, tiles, draw.New(canvas))[0] {
		row[i].Draw(c)
	}
	f, err := os.Create(path)
	if err != nil {
		return err
	}
	if _, err := canvas.WriteTo(f); err != nil {
		return err
	}
	return f.Close()
}

func (p panel) plot() (*plot.Plot, error) {
	out := plot.New()
	out.Title.Text, out.X.Label.Text, out.Y.Label.Text = p.title, p.x, p.y
	out.Y.Min = 0
	out.Add(plotter.NewGrid())
	if p.logarithmic {
		out.X.Scale = plot.LogScale{}
	}
	if len(p.ticks) > 0 {
		var ticks []plot.Tick
		for _, t := range p.ticks {
			ticks = append(ticks, plot.Tick{Value: t, Label: strconv.FormatFloat(t, 'f', -1, 64)})
		}
		out.X.Tick.Marker = plot.ConstantTicks(ticks)
	}
	for i, l := range p.lines {
		points := make(plotter.XYs, len(l.xs))
		for j := range l.xs {
			points[j] = plotter.XY{X: l.xs[j], Y: l.ys[j]}
		}
		curve, err := plotter.NewLine(points)
		if err != nil {
			return nil, err
		}
		curve.Color, curve.Width = plotColour(i), vg.Points(1.4)
		out.Add(curve)
		if len(points) <= 20 {
			dots, err := plotter.NewScatter(points)
			if err != nil {
				return nil, err
			}
			dots.Color, dots.Shape, dots.Radius = curve.Color, draw.CircleGlyph{}, vg.Points(2.4)
			out.Add(dots)
		}
		if len(p.lines) > 1 {
			out.Legend.Add(l.name, curve)
		}
	}
	out.Legend.Top, out.Legend.Left, out.Legend.Padding = true, true, vg.Points(2)
	out.Y.Max *= 1.1 + .07*float64(len(p.lines)) // room for the legend
	out.Y.Min = 0
	if p.from > 0 {
		mark, err := plotter.NewLine(plotter.XYs{{X: p.from, Y: 0}, {X: p.from, Y: out.Y.Max}})
		if err != nil {
			return nil, err
		}
		mark.Dashes = []vg.Length{vg.Points(3), vg.Points(3)}
		out.Add(mark)
	}
	return out, nil
}

// plotColour tells curves apart also for those who see colours differently (Okabe and Ito).
func plotColour(i int) color.Color {
	colours := []color.RGBA{{0, 114, 178, 255}, {213, 94, 0, 255}, {0, 158, 115, 255}, {204, 121, 167, 255}, {230, 159, 0, 255}, {86, 180, 233, 255}, {0, 0, 0, 255}}
	return colours[i%len(colours)]
}
