#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
# tools/mm/ptshare-stat against files made up for the purpose: what it reads
# out of them, what it works out, and that bad input ends with a remedy.
# usage: test-ptshare-stat.py [TOOL]
import os
import subprocess
import sys
import tempfile
import unittest

TOP = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
TOOL = os.path.join(os.environ.get('BUILD', os.path.join(TOP, 'build')),
                    'linux/tools/mm/ptshare-stat')
CHUNK = 2 << 20


class Test(unittest.TestCase):
    def setUp(self):
        self.dir = tempfile.TemporaryDirectory()
        self.put('proc/sys/vm/ptshare', '2\n')
        self.put('proc/vmstat', 'pgfault 7\nptshare_link 30\n'
                 'ptshare_unlink 10\nptshare_unlink_zap 10\n'
                 'ptshare_fallback_align 8\nptshare_fallback_small 0\n')
        self.put('proc/meminfo', 'PageTables:  4096 kB\n'
                 'SharedPageTables:  32 kB\n')

    def tearDown(self):
        self.dir.cleanup()

    def put(self, name, text):
        path = os.path.join(self.dir.name, name)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path, 'w') as f:
            f.write(text)

    def process(self, pid, maps, enabled=1):
        """maps: (address, chunks, offset, prot, name, kB shared, flags)"""
        text = ''
        self.put(f'proc/{pid}/comm', f'worker{pid}\n')
        self.put(f'proc/{pid}/pagemap', '')
        pagemap = open(os.path.join(self.dir.name, f'proc/{pid}/pagemap'),
                       'r+b')
        for addr, chunks, offset, prot, name, shared, flags in maps:
            end = addr + chunks * CHUNK
            text += f'{addr:x}-{end:x} {prot} {offset:08x} 00:1a 77  {name}\n'
            text += f'Rss: {chunks * 4} kB\nSharedPtMapped: {shared} kB\n'
            text += f'VmFlags: rd wr sh mr {flags}\n'
            for at in range(addr, end, CHUNK):      # a page in each chunk
                pagemap.seek((at + 4096) // 4096 * 8)
                pagemap.write((1 << 63).to_bytes(8, 'little'))
        pagemap.close()
        self.put(f'proc/{pid}/smaps', text)
        self.put(f'proc/{pid}/status', f'PTShare_enabled:\t{enabled}\n')

    def run_tool(self, *args, status=0):
        run = subprocess.run([sys.executable, TOOL, '--root',
                              self.dir.name, *args],
                             capture_output=True, text=True)
        self.assertEqual(status, run.returncode, run.stderr)
        return run.stdout if status == 0 else run.stderr

    def row(self, out, name):
        rows = [r.split() for r in out.splitlines() if name in r]
        self.assertEqual(1, len(rows), out)
        return ' '.join(rows[0])

    def test_shared(self):
        for pid in 101, 102, 103:
            self.process(pid, [(0x10000000, 8, 0, 'rw-s', '/dev/shm/a b',
                                32, 'sd')])
        out = self.run_tool()
        self.assertIn('2 (always)', out)
        self.assertIn('linked 20 times', out)
        self.assertIn('Saved now         48 KiB', out)
        self.assertIn('    align 8\n', out)
        self.assertIn('    zap 10\n', out)
        self.assertEqual('/dev/shm/a b rw- 3 96 KiB 96 KiB 64 KiB -',
                         self.row(out, '/dev/shm/a b'))
        # debugfs knows better
        self.put('sys/kernel/debug/ptshare/files',
                 'dev  ino prot uid tables sharers links saved mapped name\n'
                 '00:1a 77 rw- 0 8 3 24 60 128 a\n'
                 '00:1a 78 rw- 0 8 3 24 99 128 b\n')
        self.assertIn(' 60 KiB -', self.row(self.run_tool(), '/dev/shm/a b'))

    def test_misaligned(self):
        for pid in 101, 102, 103:
            self.process(pid, [(0x10001000, 8, 0, 'rw-s', '/x', 0, 'sd')])
        self.assertEqual('/x rw- 3 96 KiB - - 64 KiB '
                         'address and offset differ modulo 2 MiB',
                         self.row(self.run_tool(), '/x'))
        # They could all use the tables that a fourth one shares by now.
        self.process(104, [(0x20000000, 8, 0, 'rw-s', '/x', 32, 'sd')])
        self.assertIn(' 96 KiB address', self.row(self.run_tool(), '/x'))

    def test_reasons(self):
        self.process(101, [(0x10000000, 1, 0, 'rw-s', '/locked', 0, 'lo')])
        self.process(102, [(0x10000000, 1, 0, 'r--s', '/late', 0, '')])
        out = self.run_tool()
        self.assertTrue(self.row(out, '/locked').endswith(' locked'))
        self.assertIn('touched before', self.row(out, '/late'))
        self.process(103, [(0x10000000, 1, 0, 'rwxs', '/out', 0, '')],
                     enabled=0)
        self.assertIn(' PR_SET_PTSHARE_DISABLE',
                      self.row(self.run_tool(), '/out'))
        self.process(104, [(0x10000000, 1, 0, 'r-xs', '/asks', 0, 'pt')])
        self.put('proc/sys/vm/ptshare', '1\n')
        out = self.run_tool()
        self.assertIn('no MADV_SHARE_PT', self.row(out, '/late'))
        self.assertIn('touched before', self.row(out, '/asks'))
        self.put('proc/sys/vm/ptshare', '0\n')
        self.assertIn('vm.ptshare is 0', self.row(self.run_tool(), '/late'))

    def test_not_of_interest(self):
        self.process(101, [(0x10000000, 8, 0, 'rw-p', '/private', 0, '')])
        self.assertIn('No shared file mapping', self.run_tool())

    def test_processes(self):
        self.process(101, [(0x10000000, 8, 0, 'rw-s', '/x', 16, 'sd')])
        self.process(102, [(0x10000000, 2, 0, 'rw-s', '/x', 8, 'sd')])
        out = self.run_tool('-p', '101')
        self.assertNotIn('worker102', out)
        self.assertIn('101 worker101 10000000 rw- 32 KiB 16 KiB 8 4 /x ',
                      self.row(out, 'worker101'))
        out = self.run_tool('-P')
        self.assertIn('102 worker102 10000000 rw- 8 KiB 8 KiB 2 0 /x',
                      self.row(out, 'worker102'))

    def test_bad_input(self):
        self.assertIn('no process 4711',
                      self.run_tool('-p', '4711', status=1))
        self.run_tool('-n', '0', status=2)
        self.run_tool('nonsense', status=2)
        os.remove(os.path.join(self.dir.name, 'proc/sys/vm/ptshare'))
        self.assertIn('CONFIG_PTSHARE', self.run_tool(status=1))


if __name__ == '__main__':
    if len(sys.argv) > 1 and not sys.argv[1].startswith('-'):
        TOOL = os.path.abspath(sys.argv.pop(1))
    unittest.main()
