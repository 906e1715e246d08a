# SPDX-License-Identifier: GPL-2.0
# The picture of scripts/demo.sh:
#   gnuplot -e "dir='build/demo'; ..." benchmarks/ptshare_demo.gp
# Variables: dir, procs, mib, sprocs, smib, smem_mib, oom_at, oom_mib (all in MiB).
# Reads dir/{vanilla,off,on}.dat and dir/story-{vanilla,on}.dat: columns are
# number of processes and PageTables in MiB. Writes dir/pagetables.png.

red = '#c0392b'; blue = '#1f5fa8'; grey = '#555555'; pale = '#d5d5d5'

set terminal pngcairo size 1600,760 font 'DejaVu Sans,15' background '#ffffff' linewidth 1.2
set output dir.'/pagetables.png'

stats dir.'/vanilla.dat' using 1:2 name 'V' nooutput
stats dir.'/on.dat' using 1:2 name 'S' nooutput
stats dir.'/story-on.dat' using 1:2 name 'T' nooutput

set multiplot
set border 3 lc rgb grey lw 1
set tics nomirror out textcolor rgb grey
set grid ytics lc rgb pale lt 1 lw 0.6
set key off
set format y '%.0f'
set bmargin at screen 0.12
set tmargin at screen 0.84
set xlabel 'processes that have read the whole file' textcolor rgb grey offset 0,0.2
set label 100 'PageTables of the whole machine, MiB' at graph 0,1.045 textcolor rgb grey

# left: the same reading on three kernels
set lmargin at screen 0.055
set rmargin at screen 0.475
set label 99 sprintf("{/:Bold %d processes, one %d MiB file}", procs, mib) \
	at screen 0.055,0.945 left font ',19'
ymax = V_max_y * 1.16
sparse = procs > 17 ? procs / 17 : 1
set xrange [0:procs * 1.02]
set yrange [0:ymax]
set label 1 'vanilla' at graph 0.55,first (V_max_y * 0.55) * 1.09 right textcolor rgb red
set label 2 "patched, vm.ptshare=0\n(circles)" at graph 0.60,first V_max_y * 0.49 left \
	textcolor rgb grey
set label 3 sprintf('patched, vm.ptshare=2: %.1f MiB', S_max_y) \
	at graph 0.97,first S_max_y + ymax * 0.045 right textcolor rgb blue
set label 4 sprintf('%.0f MiB', V_max_y) at graph 0.97,first V_max_y * 1.06 right textcolor rgb red
plot dir.'/vanilla.dat' using 1:2 with lines lw 4 lc rgb red, \
     dir.'/off.dat' using 1:2 every sparse with points pt 7 ps 1.5 lc rgb 'white', \
     dir.'/off.dat' using 1:2 every sparse with points pt 6 ps 1.5 lw 1.5 lc rgb grey, \
     dir.'/on.dat' using 1:2 with lines lw 4 lc rgb blue
unset label 1
unset label 2
unset label 3
unset label 4

# right: the machine that is too small for the tables
set lmargin at screen 0.555
set rmargin at screen 0.975
set label 99 sprintf("{/:Bold %d processes, one %d MiB file}", sprocs, smib) \
	at screen 0.555,0.945 left font ',19'
ymax = smem_mib * 1.15
set xrange [0:sprocs * 1.03]
set yrange [0:ymax]
set arrow 1 from graph 0,first smem_mib to graph 1,first smem_mib nohead lc rgb grey dt 3 lw 1.5
set label 5 sprintf('all memory of the machine: %d MiB', smem_mib) at graph 0.985,first smem_mib + ymax * 0.03 right \
	textcolor rgb grey
set arrow 3 from graph 0,first smem_mib - smib to graph 1,first smem_mib - smib nohead \
	lc rgb grey dt 3 lw 1.5
set label 10 sprintf('what the file leaves: %d MiB', smem_mib - smib) \
	at graph 0.985,first smem_mib - smib + ymax * 0.03 right textcolor rgb grey
if (oom_at > 0) {
	set arrow 2 from oom_at,oom_mib to smem_mib * oom_at / oom_mib,smem_mib nohead lc rgb red dt 2 lw 1.5
	set label 6 '' at oom_at,oom_mib point pt 2 ps 3 lw 4 lc rgb red
	set label 7 sprintf("vanilla: out of memory\nafter %d processes,\nthe kernel kills", oom_at) \
		at oom_at,oom_mib offset 2.5,-0.6 textcolor rgb red
}
set label 9 sprintf('vm.ptshare=2: all %d run, %.1f MiB', sprocs, T_max_y) \
	at graph 0.97,first T_max_y + ymax * 0.045 right textcolor rgb blue
plot dir.'/story-vanilla.dat' using 1:2 with lines lw 4 lc rgb red, \
     dir.'/story-on.dat' using 1:2 with lines lw 4 lc rgb blue
unset multiplot
