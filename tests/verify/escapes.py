"""Programs that try to get out, hang, or fill the machine: name -> program.

CANARY, PORT and ABSTRACT are put in by the test. Where what a program tries leaves no trace outside, it answers OUT
once the system let it.
"""

# ruff: noqa: E501  one program a line
from __future__ import annotations

FILES = {
    "open read": "ans = open('CANARY').read()",
    "open write": "f = open('CANARY.new', 'w')\nf.write('x')\nans = 1",
    "append": "f = open('CANARY', 'a')\nf.write('x')\nans = 1",
    "pathlib": "from pathlib import Path\nans = Path('CANARY').read_text()",
    "pathlib write": "from pathlib import Path\nPath('CANARY.new').write_text('x')\nans = 1",
    "os.open": "import os\nfd = os.open('CANARY', os.O_RDONLY)\nans = os.read(fd, 99).decode()",
    "os.listdir": "import os\nans = str(os.listdir('/'))",
    "io": "import io\nans = io.open('CANARY').read()",
    "codecs": "import codecs\nans = codecs.open('CANARY').read()",
    "linecache": "import linecache\nans = linecache.getline('CANARY', 1)",
    "fileinput": "import fileinput\nans = next(iter(fileinput.input(['CANARY'])))",
    "shutil": "import shutil\nshutil.copy('CANARY', 'CANARY.new')\nans = 1",
    "remove": "import os\nos.remove('CANARY')\nans = 1",
    "rename": "import os\nos.rename('CANARY', 'CANARY.new')\nans = 1",
    "chmod": "import os\nos.chmod('CANARY', 0o777)\nans = 1",
    "chown": "import os\nos.chown('CANARY', 1234, 1234)\nans = 1",
    "utime": "import os\nos.utime('CANARY', (1, 1))\nans = 1",
    "extended attribute": "import os\nos.setxattr('CANARY', b'user.x', b'1')\nans = 1",
    "truncate": "import os\nos.truncate('CANARY', 0)\nans = 1",
    "mkdir": "import os\nos.mkdir('CANARY.new')\nans = 1",
    "mkfifo": "import os\nos.mkfifo('CANARY.new')\nans = 1",
    "hard link": "import os\nos.link('CANARY', 'CANARY.new')\nans = 1",
    "symlink": "import os\nos.symlink('CANARY', 'CANARY.new')\nans = 1",
    "tempfile": "import tempfile\nf = tempfile.NamedTemporaryFile(delete=False)\nans = f.name",
    "mmap": "import mmap, os\nf = os.open('CANARY', 0)\nans = mmap.mmap(f, 0, prot=1)[:9].decode()",
    "sqlite": "import sqlite3\nsqlite3.connect('CANARY.new').execute('create table t (x)')\nans = 1",
    "passwd": "ans = open('/etc/passwd').read()[:50]",
    "environment": "import os\nans = os.environ['SECRET_CANARY']",
    "proc environ": "ans = open('/proc/self/environ').read()",
    "parent environ": "import os\nans = open(f'/proc/{os.getppid()}/environ').read()",
    "memory of parent": "import os\nf = open(f'/proc/{os.getppid()}/mem', 'rb')\nf.seek(4096)\nans = str(f.read(9))",
    "importlib": "import importlib.util as u\ns = u.spec_from_file_location('m', 'CANARY')\nans = open(s.origin).read()",
    "runpy": "import runpy\nans = runpy.run_path('CANARY')",
    "exec file": "exec(open('CANARY').read())\nans = 1",
    "numpy": "import numpy\nans = str(numpy.fromfile('CANARY', dtype='u1'))",
    "sympy": "from sympy import sympify\nans = sympify(\"__import__('builtins').open('CANARY').read()\")",
    "sympy lambdify": "from sympy import lambdify\nans = lambdify([], \"__import__('os').popen('cat CANARY').read()\")()",
}
"""Reach for files; each must leave CANARY as it is and make none beside it."""

NETWORK = {
    "socket": "import socket\ns = socket.create_connection(('127.0.0.1', PORT), 1)\ns.send(b'out')\nans = 1",
    "udp": "import socket\ns = socket.socket(2, 2)\ns.sendto(b'out', ('127.0.0.1', PORT))\nans = 1",
    "urllib": "import urllib.request\nans = str(urllib.request.urlopen('http://127.0.0.1:PORT/').status)",
    "http": "import http.client\nc = http.client.HTTPConnection('127.0.0.1', PORT)\nc.request('GET', '/')\nans = 1",
    "unix socket": "import socket\ns = socket.socket(1, 1)\ns.bind('CANARY.new')\nans = 1",
    "listen": "import socket\ns = socket.socket()\ns.bind(('127.0.0.1', 0))\ns.listen()\nans = 1",
    "raw socket": "import socket\ns = socket.socket(2, 3, 1)\nans = 1",
    "asyncio": "import asyncio\nasync def f():\n  await asyncio.open_connection('127.0.0.1', PORT)\nasyncio.run(f())\nans = 1",
    "ctypes": "import ctypes\nlibc = ctypes.CDLL(None)\nans = libc.socket(2, 1, 0) if libc.socket(2, 2, 0) < 0 else 1 / 0",
}

PROCESSES = {
    "fork bomb": "import os\nwhile True:\n  os.fork()",
    "fork": "import os\nif os.fork() == 0:\n  open('CANARY.new', 'w')\nans = 1",
    "system": "import os\nif os.system('touch CANARY.new'):\n  raise OSError\nans = 1",
    "popen": "import os\nans = os.popen('cat CANARY').read() or 1 / 0",
    "subprocess": "import subprocess\nans = subprocess.run(['cat', 'CANARY'], capture_output=True, text=True).stdout or 1 / 0",
    "exec": "import os\nos.execv('/bin/sh', ['sh', '-c', 'touch CANARY.new'])",
    "multiprocessing": "import multiprocessing as m\np = m.Process(target=print)\np.start()\np.join()\nans = p.exitcode and 1 / 0",
    "kill parent": "import os\nos.kill(os.getppid(), 9)\nans = 1",
    "kill all": "import os\nos.kill(-1, 9)\nans = 1",
    "pty": "import pty\npty.spawn(['touch', 'CANARY.new'])\nans = 1",
    "thread bomb": "import threading\nwhile True:\n  threading.Thread(target=lambda: input()).start()",
    "segfault": "import ctypes\nctypes.string_at(0)\nans = 1",
    "abort": "import os\nos.abort()",
    "ptrace": "import ctypes, os\nans = 1 / (ctypes.CDLL(None).ptrace(16, os.getppid(), 0, 0) + 1)",
}

ENDLESS = {
    "while": "while True:\n  pass",
    "swallows": "while True:\n  try:\n    while True:\n      pass\n  except BaseException:\n    pass",
    "recursion swallowed": "def f():\n  try:\n    f()\n  except RecursionError:\n    f()\nf()\nans = 1",
    "sum of range": "ans = sum(range(10**12))",
    "power": "ans = 7 ** 7 ** 9 % 10",
    "factorial": "import math\nans = math.factorial(10**7) % 7",
    "nested loops": "n = 0\nfor i in range(10**9):\n  for j in range(10**9):\n    n += 1\nans = n",
    "regular expression": "import re\nans = bool(re.fullmatch('(a|aa|aaa)*(a|aa)*b?c', 'a' * 5000))",
    "generator": "def g():\n  while True:\n    yield 1\nans = sum(g())",
    "iterator": "import itertools\nans = sum(itertools.count())",
    "sleeping fully": "import time, fractions\ntime.sleep(10**6)\nans = fractions.Fraction(1, 2)",
    "lock": "import threading\nl = threading.Lock()\nl.acquire()\nl.acquire()\nans = 1",
    "signal ignored": "import signal\nfor s in range(1, 32):\n  try:\n    signal.signal(s, signal.SIG_IGN)\n  except Exception:\n    pass\nwhile True:\n  pass",
    "finaliser": "class A:\n  def __del__(self):\n    while True:\n      pass\na = A()\nans = 1\ndel a\nwhile True:\n  pass",
}

GREEDY = {
    "list": "ans = len([0] * 10**10)",
    "growing list": "a = []\nwhile True:\n  a.append('x' * 1000)",
    "string": "ans = len('a' * 10**11)",
    "doubling": "a = 'a'\nwhile True:\n  a += a",
    "shift": "ans = (1 << 10**11) % 3",
    "dictionary": "d = {}\ni = 0\nwhile True:\n  d[i] = [i]\n  i += 1",
    "format": "ans = len('{:>99999999999}'.format(1))",
    "bytes": "ans = len(bytes(10**11))",
    "numpy memory": "import numpy\nans = float(numpy.ones(10**10).sum())",
    "deep recursion": "def f(n):\n  return 1 + f(n + 1)\nans = f(0)",
    "deep nesting": "ans = " + "(" * 3000 + "1" + ")" * 3000,
    "deep list": "ans = " + "[" * 3000 + "]" * 3000,
    "many minus": "ans = " + "-" * 15000 + "1",
    "long sum": "ans = " + "+".join(["1"] * 9000),
    "print flood": "while True:\n  print('x' * 10000)",
    "print one": "print('x' * (1 << 24))\nans = 1",
    "stderr flood": "import sys\nwhile True:\n  sys.stderr.write('x' * 10000)",
    "descriptor flood": "import os, fractions\nwhile True:\n  for i in range(9):\n    try:\n      os.write(i, b'x' * 65536)\n    except OSError:\n      pass",
    "huge answer": "ans = 'x' * (1 << 24)",
    "huge integer": "ans = 9 ** 99999",
    "answer nested": "a = []\nfor i in range(10**5):\n  a = [a]\nans = a",
    "answer circular": "ans = []\nans.append(ans)",
}

WALKS = {
    "subclasses": "ans = str(().__class__.__bases__[0].__subclasses__())",
    "globals": "ans = str((lambda: 0).__globals__['__builtins__'])[:99] + open('CANARY').read()",
    "frames": "import sys\nans = sys._getframe(1).f_globals['os'].popen('cat CANARY').read() or 1 / 0",
    "code object": "def f(): pass\nf.__code__ = f.__code__.replace(co_code=b'\\x01' * 99)\nf()\nans = open('CANARY').read()",
    "import hook": "import sys\nsys.meta_path.clear()\nans = __import__('os').popen('cat CANARY').read() or 1 / 0",
    "getattr": "ans = getattr(getattr(__builtins__, 'op' + 'en')('CANARY'), 're' + 'ad')()",
    "eval": 'ans = eval("op" + "en(\'CANARY\').read()")',
    "exec": "exec('import os\\nans = os.popen(\"cat CANARY\").read() or 1/0')",
    "compile": "exec(compile('ans = open(\"CANARY\").read()', 'x', 'exec'))",
    "unicode name": "ans = ᵒpen('CANARY').read()",
    "unicode import": "import ᵒs\nans = os.popen('cat CANARY').read() or 1 / 0",
    "null byte": "ans = 1\x00\nopen('CANARY.new', 'w')",
    "bidirectional": "ans = 1 # \u202e'CANARY'(nepo\nans = open('CANARY').read()",
    "surrogate": "ans = open('CANARY' + chr(0xD800)).read()",
    "coding": "# -*- coding: utf-7 -*-\nans = open('CANARY').read()",
    "form feed": "\fans = open('CANARY').read()",
    "pickle": "import pickle\nans = pickle.loads(b\"cos\\nsystem\\n(S'touch CANARY.new'\\ntR.\") and 1 / 0",
    "format walk": "ans = '{0.__class__.__mro__}'.format(0) + open('CANARY').read()",
    "pretend value": "import os, fractions\nfor i in range(9):\n  try:\n    os.pwrite(i, b'{\"value\": \"777\"}\\n', 0)\n  except OSError:\n    pass\nans = open('CANARY').read()",
    "exit early": "import sys\nsys.exit(0)",
    "answer that acts": "class A:\n  def __str__(self): return open('CANARY').read()\n  def __float__(self): return float(len(open('CANARY').read()))\nans = A()",
    "int subclass": "class I(int):\n  def __str__(self): return open('CANARY').read()\nans = I(3)",
}

SYSTEM = "import ctypes, os\nc = ctypes.CDLL(None, use_errno=True)\ndef call(*a):\n  r = c.syscall(*a)\n  if r < 0:\n    raise OSError(ctypes.get_errno(), 'refused')\n  return r\n"
"""Calls the system by number: x86-64's, which are other calls or none elsewhere."""

PRIVATE = {
    "attribute names": "import os\nans = str(os.listxattr('CANARY')) and 'OUT'",
    "attribute": "import os\nans = os.getxattr('CANARY', b'user.secret').decode()",
    "watch": SYSTEM + "f = call(253)\ncall(254, f, b'CANARY', 0xfff)\nans = 'OUT'",
    "through a link": "ans = open('CANARY.link').read()",
    "by handle": SYSTEM
    + "b = ctypes.create_string_buffer(b'\\x80\\0\\0\\0' + bytes(150), 200)\nm = ctypes.c_int()\ncall(303, -100, b'CANARY', b, ctypes.byref(m), 0)\nans = os.read(call(304, -100, b, 0), 99).decode()",
    "inherited descriptors": "import os\nans = ''\nfor f in range(3, 256):\n  try:\n    ans += str(os.pread(f, 99, 0))\n  except OSError:\n    pass",
    "flooded descriptors": "import os\nfor f in range(3, 256):\n  for n in range(9):\n    try:\n      os.write(f, b'x' * 4096)\n    except OSError:\n      break\nans = 1",
    "descriptors of parent": "import os\nans = open(f'/proc/{os.getppid()}/fd/0').read()",
    "root of process": "ans = open('/proc/self/rootCANARY').read()",
    "dots": "ans = open('/usr/lib/../..CANARY').read()",
    "shared memory": "f = open('/dev/shm/feints', 'w')\nans = 'OUT'",
    "keys": "import os\nans = str(dict(os.environ)) + os.getenv('SECRET_CANARY', '')",
    "key ring": SYSTEM + "call(250, 0, -3, 1)\nans = 'OUT'",
    "log of kernel": SYSTEM + "call(103, 3, ctypes.create_string_buffer(4096), 4096)\nans = 'OUT'",
}
"""Reach for what is written elsewhere than in files' contents."""

SIDEWAYS = {
    "unix path": "import socket\ns = socket.socket(1, 1)\ns.connect('CANARY.sock')\ns.send(b'out')\nans = 1",
    "unix abstract": "import socket\ns = socket.socket(1, 1)\ns.connect('\\0ABSTRACT')\ns.send(b'out')\nans = 1",
    "fast open": "import socket\ns = socket.socket(2, 1)\ns.sendto(b'out', 0x20000000, ('127.0.0.1', PORT))\nans = 1",
    "multipath": "import socket\ns = socket.socket(2, 1, 262)\ns.connect(('127.0.0.1', PORT))\nans = 1",
    "mapped address": "import socket\ns = socket.socket(10, 1)\ns.connect(('::ffff:127.0.0.1', PORT))\nans = 1",
    "udp lite": "import socket\ns = socket.socket(2, 2, 136)\ns.sendto(b'out', ('127.0.0.1', PORT))\nans = 1",
    "routing": "import socket\ns = socket.socket(16, 3, 0)\nans = 'OUT'",
    "virtual machine": "import socket\ns = socket.socket(40, 1)\nans = 'OUT'",
    "ring": SYSTEM + "call(425, 8, ctypes.create_string_buffer(256))\nans = 'OUT'",
}
"""Roads to the network that lead past a guard of TCP's connect."""

OTHERS = {
    "stop parent": "import os\nos.kill(os.getppid(), 19)\nans = 'OUT'",
    "signal by pipe": "import os, fcntl, time\nr, w = os.pipe()\nfcntl.fcntl(r, 8, os.getppid())\nfcntl.fcntl(r, 10, 9)\nfcntl.fcntl(r, 4, 0o20000)\nos.write(w, b'x')\ntime.sleep(0.1)\nans = 1",
    "signal by handle": SYSTEM + "call(424, call(434, os.getppid(), 0), 19, None, 0)\nans = 'OUT'",
    "own session": "import os\ntry:\n  os.setsid()\n  os.kill(os.getppid(), 9)\nexcept OSError:\n  pass\nwhile True:\n  pass",
    "limits of parent": "import os, resource\nresource.prlimit(os.getppid(), resource.RLIMIT_NOFILE, (64, 64))\nans = 'OUT'",
    "processors of parent": "import os\nos.sched_setaffinity(os.getppid(), os.sched_getaffinity(0))\nans = 'OUT'",
    "turn of parent": "import os\nos.sched_setscheduler(os.getppid(), os.SCHED_BATCH, os.sched_param(0))\nans = 'OUT'",
    "disk of parent": SYSTEM + "call(251, 1, os.getppid(), 2 << 13)\nans = 'OUT'",
    "read parent": SYSTEM
    + "import struct\nb = ctypes.create_string_buffer(64)\ncall(310, os.getppid(), struct.pack('PN', ctypes.addressof(b), 64), 1, struct.pack('PN', 0x400000, 64), 1, 0)\nans = 'OUT'",
    "take descriptor": SYSTEM + "call(438, call(434, os.getppid(), 0), 0, 0)\nans = 'OUT'",
    "first in line": "import os\nos.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(1))\nans = 'OUT'",
    "another program": "import os, sys\nos.execv(sys.executable, [sys.executable, '-S', '-c', 'while True: pass'])",
    "spawn": "import os\nos.posix_spawn('/bin/sh', ['sh', '-c', 'touch CANARY.new'], {})\nans = 1",
    "message queue": SYSTEM + "call(68, 0x4711, 0o1777)\nans = 'OUT'",
    "shared segment": SYSTEM + "call(29, 0x4711, 1 << 20, 0o1777)\nans = 'OUT'",
}
"""Reach for other processes, or leave something behind in the kernel."""

RIGHTS = {
    "change root": "import os\nos.chroot('/')\nans = 'OUT'",
    "mount": SYSTEM + "call(165, b'none', b'/nowhere', b'tmpfs', 0, None)\nans = 'OUT'",
    "open file system": SYSTEM + "call(430, b'tmpfs', 0)\nans = 'OUT'",
    "clone tree": SYSTEM + "call(428, -100, b'/', 1)\nans = 'OUT'",
    "user namespace": SYSTEM + "call(272, 0x10000000)\nans = 'OUT'",
    "clock": "import time\ntime.clock_settime(0, time.clock_gettime(0))\nans = 'OUT'",
    "more memory": "import resource\nresource.setrlimit(resource.RLIMIT_AS, (-1, -1))\nans = 'OUT'",
    "kernel program": SYSTEM + "call(321, 0, ctypes.create_string_buffer(128), 128)\nans = 'OUT'",
    "device": "import os, stat\nos.mknod('CANARY.new', stat.S_IFCHR | 0o600, os.makedev(1, 1))\nans = 'OUT'",
    "older calls": "import ctypes, mmap\nm = mmap.mmap(-1, 4096, prot=7)\nm.write(b'\\xb8\\x27\\x00\\x00\\x00\\xcd\\x80\\xc3')\nf = ctypes.CFUNCTYPE(ctypes.c_long)(ctypes.addressof(ctypes.c_char.from_buffer(m)))\nans = 'OUT' if f() >= 0 else 1 / 0",
}
"""Ask for what is the administrator's, as whom tests may run."""

_OVER = "import os\nfor i in range(3, 99):\n  try:\n    os.pwrite(i, {}, 0)\n  except OSError:\n    pass\nos._exit(0)"
FORGED = {
    "deep reply": _OVER.format("b'[' * 8000 + b'\\n'"),
    "not run": _OVER.format('b\'{"failure": "not run"}\\n\''),
    "nothing to run": _OVER.format('b\'{"failure": "nothing to run"}\\n\''),
    "strange failure": _OVER.format("b'{\"failure\": []}\\n'"),
    "long number": _OVER.format("b'{\"value\": ' + b'9' * 6000 + b'}\\n'"),
    "half a character": "import fractions\nans = '\\ud800'",
    "half a character raised": "import fractions\nraise ValueError('\\ud800')",
    "answer that hangs": "class A:\n  @property\n  def numerator(self):\n    while True:\n      pass\nans = A()",
    "thread that stays": "import threading\ndef f():\n  while True:\n    pass\nthreading.Thread(target=f).start()\nans = 5",
}
"""Write over the reply, or leave one that is hard to read."""

MORE_GREED = {
    "memory files": "import os\nkept = []\nwhile True:\n  kept.append(os.memfd_create('x'))\n  os.write(kept[-1], b'x' * 65536)",
    "shared maps": "import mmap\nkept = [mmap.mmap(-1, 1 << 28) for _ in range(99)]\nans = len(kept)",
    "stacks": "import sys, threading\nsys.setrecursionlimit(10**8)\nthreading.stack_size(256 << 20)\ndef f(): f()\nthreading.Thread(target=f).start()\nans = 1",
    "bomb of zeros": "import zlib\nb = zlib.compress(b'0' * 10**8)\nfor i in range(9):\n  b = zlib.decompress(b) * 100",
    "width": "n = 10**10\nans = len(f'{1:>{n}}')",
    "join": "a = 'a' * 10**6\nans = len(a.join([a] * 10**5))",
    "digits": "ans = len(str(7 ** 10**6))",
    "gathered": "import asyncio\nasync def f(n):\n  return await asyncio.gather(*[f(n + 1) for _ in range(100)])\nasyncio.run(f(0))",
    "deep json": "import json\nans = str(json.loads('[' * 10**6))[:5]",
    "deep hash": "a = ()\nfor i in range(10**5):\n  a = (a,)\nans = hash(a)",
    "many lambdas": "ans = " + "lambda: " * 2000 + "1",
    "many not": "ans = " + "not " * 4900 + "1",
    "many choices": "ans = " + "1 if 1 else " * 1600 + "1",
    "many attributes": "ans = x" + ".a" * 9000,
    "nested functions": "".join(" " * i + "def f():\n" for i in range(99)) + " " * 99 + "1",
}
"""More ways to fill the machine or the parser."""

ALL = {
    f"{group}: {name}": program
    for group, found in (
        ("files", FILES),
        ("network", NETWORK),
        ("processes", PROCESSES),
        ("endless", ENDLESS),
        ("greedy", GREEDY),
        ("walks", WALKS),
        ("private", PRIVATE),
        ("sideways", SIDEWAYS),
        ("others", OTHERS),
        ("rights", RIGHTS),
        ("forged", FORGED),
        ("greedier", MORE_GREED),
    )
    for name, program in found.items()
}
