# SPDX-License-Identifier: GPL-2.0
# The picture of benchmarks/run: gnuplot -e "dir='build/bench'; names='memory ...'" THIS
# Reads dir/NAME-{vanilla,off,on}.dat: number of processes and a figure.
# Writes dir/bench.png, one panel for each name.

red = '#c0392b'; blue = '#1f5fa8'; grey = '#555555'; pale = '#d5d5d5'
n = words(names)
title(name) = name eq 'memory' ? 'PageTables for a 1 GiB file, MiB' : \
	name eq 'reclaim' ? 'reclaim, us per page' : \
	name eq 'truncate' ? 'truncate, us per page' : 'fsync, us per page'

set terminal pngcairo size 560 * (n > 1 ? 2 : 1), 420 * ((n + 1) / 2) \
	font 'DejaVu Sans,11' background '#ffffff'
set output dir.'/bench.png'
set multiplot layout (n + 1) / 2, (n > 1 ? 2 : 1)
set border 3 lc rgb grey
set tics nomirror out textcolor rgb grey
set grid ytics lc rgb pale lt 1 lw 0.6
set key top left reverse Left
set xlabel 'processes that map the file'
do for [i = 1:n] {
	name = word(names, i)
	set title title(name)
	if (name eq 'memory') { unset logscale } else { set logscale x 2; set logscale y }
	plot dir.'/'.name.'-vanilla.dat' using 1:2 with linespoints pt 7 lw 2 lc rgb red title 'vanilla', \
	     dir.'/'.name.'-off.dat' using 1:2 with points pt 6 ps 1.5 lc rgb grey title 'vm.ptshare=0', \
	     dir.'/'.name.'-on.dat' using 1:2 with linespoints pt 7 lw 2 lc rgb blue title 'vm.ptshare=2'
}
unset multiplot
