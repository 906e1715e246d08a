#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
"""Two programs as people write them, who know nothing of page tables: 20 workers
read one block of multiprocessing.shared_memory, or one LMDB database.

usage: workers.py shm|lmdb
Goes on whenever it gets a line on stdin."""

import multiprocessing
import resource
import sys
from multiprocessing import shared_memory

SIZE = 256 << 20
WORKERS = 20


class Block:
    """A block of shared memory, known by its name."""
    def __init__(self):
        self.block = shared_memory.SharedMemory(create=True, size=SIZE)
        self.block.buf[::4096] = bytes(i % 251 for i in range(SIZE // 4096))

    def attach(self):
        self.mine = shared_memory.SharedMemory(name=self.block.name)

    def read(self):
        return sum(self.mine.buf[::4096].tolist())

    def end(self):
        self.block.close()
        self.block.unlink()


class Database:
    """An LMDB database in a directory."""
    PATH = '/var/tmp/lmdb'

    def __init__(self):
        import lmdb     # not needed for the other one
        self.open = lmdb.open
        with self.open(self.PATH, map_size=SIZE) as env, env.begin(write=True) as txn:
            for i in range(50000):
                txn.put(b'%08d' % i, b'%04d' % (i % 251) * 1000)

    def attach(self):
        self.env = self.open(self.PATH, map_size=SIZE, readonly=True)

    def read(self):
        with self.env.begin(buffers=True) as txn:
            return sum(int(bytes(value[:4])) for _, value in txn.cursor())

    def end(self):
        pass


def faults():
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt


def worker(data, results, leave):
    before = faults()
    data.attach()
    total = data.read()
    results.put((faults() - before, total))
    leave.wait()


def start(number, *args):
    crowd = [multiprocessing.Process(target=worker, args=args) for _ in range(number)]
    for process in crowd:
        process.start()
    return crowd


def say(text):
    print(text, flush=True)
    sys.stdin.readline()


def main():
    data = {'shm': Block, 'lmdb': Database}[sys.argv[1]]()
    results, leave = multiprocessing.Queue(), multiprocessing.Event()
    say('made')
    crowd = start(WORKERS, data, results, leave)
    totals = {results.get()[1] for _ in crowd}
    say('read')
    crowd += start(1, data, results, leave)
    newcomer, total = results.get()
    assert totals == {total}, 'workers read different things'
    say(newcomer)
    leave.set()
    for process in crowd:
        process.join()
    data.end()


if __name__ == '__main__':
    main()
