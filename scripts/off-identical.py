#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
"""Compare the code of all object files of two kernel build directories.

Executable sections are compared byte by byte, relocations by what they point
at: a named symbol, a string's text, or place in a section. Debug and bug
tables (line numbers) are data and not looked at. Files that differ are
disassembled and the first differing lines shown. Used by off-identical.sh.
"""
import difflib
import os
import re
import struct
import subprocess
import sys

SKIP = re.compile(r'^(scripts|tools|arch/x86/(boot|tools)|usr|certs)/|(^|/)\.|^vmlinux|'
                  r'^init/version\.o$|^init/version-timestamp\.o$|/built-in|\.mod\.o$')
SHF_EXEC, SHF_STRINGS = 4, 0x20


def objects(top):
    """Relative paths of the object files that make up the kernel."""
    found = set()
    for path, dirs, files in os.walk(top):
        dirs[:] = [d for d in dirs if not d.startswith('.')]
        for name in files:
            rel = os.path.relpath(os.path.join(path, name), top)
            if name.endswith('.o') and not SKIP.search(rel):
                found.add(rel)
    return found


def disassembly(path):
    """Lines of disassembly, without addresses."""
    text = subprocess.run(['objdump', '-dr', '--no-show-raw-insn', path],
                          capture_output=True, text=True, check=True).stdout
    return [re.sub(r'^ *[0-9a-f]+:', '', re.sub(r'^[0-9a-f]{16} ', '', x))
            for x in text.split('\n')[3:]]


def code(path):
    """{section: (bytes, relocations)} of the executable sections of an ELF file."""
    with open(path, 'rb') as f:
        b = f.read()
    if b[:5] != b'\x7fELF\x02':  # 32-bit, for the real mode: little, and in assembler
        return {'disassembly': (disassembly(path), [])}
    shoff, = struct.unpack_from('<Q', b, 40)
    shnum, shstr = struct.unpack_from('<HH', b, 60)
    sec = [struct.unpack_from('<IIQQQQIIQQ', b, shoff + 64 * i) for i in range(shnum)]

    def string(tab, off):
        start = sec[tab][4] + off
        return b[start:b.index(b'\0', start)].decode('latin-1')

    name = [string(shstr, s[0]) for s in sec]
    syms, symstr = [], 0
    for s in sec:
        if s[1] == 2:  # SHT_SYMTAB
            symstr = s[6]
            syms = [struct.unpack_from('<IBBHQQ', b, s[4] + 24 * i) for i in range(s[5] // 24)]

    def target(sym, addend, pcrel):
        st_name, info, _, shndx, value, _ = syms[sym]
        if info >> 4 == 0 and 0 < shndx < shnum:  # local: by place, not by name
            place = value + addend
            if sec[shndx][2] & SHF_STRINGS:
                at = place + (4 if pcrel else 0)
                if 0 <= at < sec[shndx][5]:
                    return ('string', string(shndx, at))
            return (name[shndx], place)
        return (string(symstr, st_name), addend)

    out = {}
    for i, s in enumerate(sec):
        if s[2] & SHF_EXEC and s[1] == 1:  # SHT_PROGBITS
            out[name[i]] = [bytearray(b[s[4]:s[4] + s[5]]), []]
    for s in sec:
        if s[1] != 4 or name[s[7]] not in out:  # SHT_RELA
            continue
        data, rel = out[name[s[7]]]
        for i in range(s[5] // 24):
            off, info, addend = struct.unpack_from('<QQq', b, s[4] + 24 * i)
            kind = info & 0xffffffff
            rel.append((off, kind, target(info >> 32, addend, kind in (2, 4))))
    return {k: (bytes(d), sorted(r)) for k, (d, r) in out.items()}


def show(path_a, path_b):
    """The first lines in which the two files' disassembly differs."""
    for n, line in enumerate(difflib.unified_diff(disassembly(path_a), disassembly(path_b),
                                                  'unpatched', 'off', n=1, lineterm='')):
        if n >= 24:
            print('    ...')
            break
        print('    ' + line)


def main():
    a, b = sys.argv[1:3]
    files_a, files_b = objects(a), objects(b)
    bad = 0
    for f in sorted(files_a ^ files_b):
        print('off-identical: %s is only in %s' % (f, a if f in files_a else b))
        bad += 1
    both = sorted(files_a & files_b)
    for f in both:
        pa, pb = os.path.join(a, f), os.path.join(b, f)
        if code(pa) != code(pb):
            print('off-identical: %s differs:' % f)
            show(pa, pb)
            bad += 1
    if len(both) < 500:
        print('off-identical: only %d object files found: is the build complete?' % len(both))
        bad += 1
    print('off-identical: %d object files compared, %d differ' % (len(both), bad))
    sys.exit(1 if bad else 0)


if __name__ == '__main__':
    main()
