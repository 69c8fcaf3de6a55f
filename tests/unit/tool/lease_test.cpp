// `lagoon lease`, the end of its holder, and scripts that take part in an arena.
#include <catch2/catch.hpp>

#include <unistd.h>

#include <csignal>
#include <filesystem>
#include <set>
#include <sstream>

#include "run.hpp"

using namespace tool_test;

TEST_CASE("tool: a lease holds a resource while its command runs, and tells it about it") {
    const std::string name = unique("lease");
    auto desk = make_desk(name);
    const Ran ran =
        lagoon_tool("lease " + name +
                    " ports -- sh -c 'echo $LAGOON_ARENA $LAGOON_POOL $LAGOON_SLOT "
                    "$LAGOON_FILL $LAGOON_RECOVERED $LAGOON_VALUE $LAGOON_VALUE_HEX; lagoon get " +
                    name + " ports; lagoon lease --no-wait " + name + " ports -- true; echo $?'");
    CHECK(ran.status == 0);
    CHECK(ran.out == name + " ports 0 1 0 8080 901f0000\n1\n");
    CHECK(ran.err.find("would_block (0 idle, 1 leased, 1 empty)") != std::string::npos);
    CHECK(desk->ports.idle() == 1);
    CHECK(desk->ports.stats().recovered == 0);
    const Ran text = lagoon_tool("lease " + name +
                                 " clusters -- sh -c 'echo ${LAGOON_VALUE-none}; "
                                 "echo ${#LAGOON_VALUE_HEX}'");
    CHECK(text.out == "none\n" + std::to_string(2 * sizeof(Cluster)) + "\n");
    lagoon::remove(std::string_view{name});
}

TEST_CASE("tool: a lease's status is its command's, also after a signal") {
    const std::string name = unique("status");
    auto desk = make_desk(name);
    const std::string lease = "lease " + name + " ports -- ";
    CHECK(lagoon_tool(lease + "true").status == 0);
    CHECK(lagoon_tool(lease + "sh -c 'exit 7'").status == 7);
    CHECK(lagoon_tool(lease + "sh -c 'kill -9 $$'").status == 128 + SIGKILL);
    CHECK(lagoon_tool(lease + "no-such-command-anywhere").status == 127);
    CHECK(lagoon_tool(lease + "/dev/null").status == 126);
    CHECK(lagoon_tool(lease + "printf '%s|' -- --json -x").out == "--|--json|-x|");
    CHECK(shell("echo through | lagoon " + lease + "cat").out == "through\n");
    CHECK(desk->ports.idle() == 1);
    lagoon::remove(std::string_view{name});
}

TEST_CASE("tool: without a resource a lease ends with the conflict status") {
    const std::string name = unique("conflict");
    auto desk = make_desk(name);
    {
        const auto mine = desk->ports.try_acquire();
        REQUIRE(mine);
        const Ran now = lagoon_tool("lease --no-wait " + name + " ports -- echo no");
        CHECK(now.status == 1);
        CHECK(now.out.empty());
        const Ran later = lagoon_tool("lease --timeout 0.05 --conflict-exit-code 42 " + name +
                                      " ports -- echo no");
        CHECK(later.status == 42);
        CHECK(later.err.find("timed_out") != std::string::npos);
    }
    CHECK(lagoon_tool("lease --timeout 60 " + name + " ports -- true").status == 0);
    desk->ports.close();
    CHECK(lagoon_tool("lease " + name + " ports -- true").status == 1);
    CHECK(lagoon_tool("lease " + name + " total -- true").status == 2);
    CHECK(lagoon_tool("lease " + name + " absent -- true").status == 2);
    lagoon::remove(std::string_view{name});
}

TEST_CASE("tool: a waiting lease gets what is given back") {
    const std::string name = unique("waiting");
    auto desk = make_desk(name);
    auto mine = desk->ports.try_acquire();
    const pid_t waiter = start("lease " + name + " ports -- true");
    REQUIRE(eventually([&] { return desk->ports.stats().waiting == 1; }));
    mine.give_back();
    CHECK(end_of(waiter) == 0);
    lagoon::remove(std::string_view{name});
}

TEST_CASE("tool: a killed lease takes its command with it, and the resource comes back") {
    const std::string name = unique("killed");
    auto desk = make_desk(name);
    const std::string file = directory() + "/pid";
    const pid_t holder =
        start("lease " + name + " ports -- sh -c 'echo $$ >" + file + "; exec sleep 100'");
    REQUIRE(eventually([&] { return read_file(file).ends_with('\n'); }));
    const pid_t command = std::stoi(read_file(file));
    ::kill(holder, SIGKILL);
    CHECK(end_of(holder) == -SIGKILL);
    CHECK(eventually([&] {
        const std::string stat = read_file("/proc/" + std::to_string(command) + "/stat");
        return stat.empty() || stat.find(") Z ") != std::string::npos;
    }));
    auto lease = desk->ports.acquire_for(std::chrono::seconds{60});
    REQUIRE(lease);
    CHECK(lease.recovered());
    lease.give_back();
    const std::string look = name + " ports -- sh -c 'echo $LAGOON_RECOVERED; exit ";
    CHECK(lagoon_tool("lease " + look + "0'").out == "1\n");
    CHECK(lagoon_tool("lease --mark-clean " + look + "3'").out == "1\n");
    CHECK(lagoon_tool("lease --mark-clean " + look + "0'").out == "1\n");
    CHECK(lagoon_tool("lease " + look + "0'").out == "0\n");
    std::filesystem::remove(file);
    lagoon::remove(std::string_view{name});
}

TEST_CASE("tool: a signal is handed on to the command, and the lease lasts as long as that") {
    const std::string name = unique("signal");
    auto desk = make_desk(name);
    const std::string file = directory() + "/ready";
    const pid_t holder = start("lease " + name + " ports -- sh -c 'trap \"exit 9\" TERM; echo >" +
                               file + "; while :; do sleep 0.02; done'");
    REQUIRE(eventually([&] { return !read_file(file).empty(); }));
    ::kill(holder, SIGTERM);
    CHECK(end_of(holder) == 9);
    CHECK(desk->ports.idle() == 1);
    CHECK(desk->ports.stats().recovered == 0);
    std::filesystem::remove(file);
    lagoon::remove(std::string_view{name});
}

TEST_CASE("tool: two shells never hold one resource at a time") {
    const std::string name = unique("shells");
    auto desk = make_desk(name);
    const std::string inside = directory() + "/inside";
    // mkdir and rmdir fail when the other shell is inside, too.
    const std::string visit =
        "mkdir " + inside + " && lagoon add " + name + " total 1 >/dev/null && rmdir " + inside;
    const std::string loop = "for i in 1 2 3 4 5 6 7 8 9 10; do lagoon lease " + name +
                             " ports -- sh -c '" + visit + "' || exit 1; done";
    const Ran ran = shell("( " + loop + " ) & ( " + loop +
                          " ) & first=$!; wait $first || exit 1; "
                          "wait");
    INFO(ran.err);
    CHECK(ran.status == 0);
    CHECK(ran.err.empty());
    CHECK(desk->total.load() == 20);
    CHECK(desk->ports.stats().acquired == 20);
    lagoon::remove(std::string_view{name});
}

TEST_CASE("tool: python scripts draw each number once") {
    if (shell("command -v python3").status != 0) {
        WARN("no python3 on this machine: not tried");
        return;
    }
    const std::string name = unique("python");
    auto desk = make_desk(name);
    const std::string script = directory() + "/draw.py";
    write_file(script,
               "import json, subprocess, sys\n"
               "def lagoon(*words):\n"
               "    return subprocess.run(['lagoon', *words], check=True, text=True,\n"
               "                          stdout=subprocess.PIPE).stdout\n"
               "arena, mine = sys.argv[1], int(sys.argv[2])\n"
               "while (number := int(lagoon('add', arena, 'total', '1'))) < 20:\n"
               "    lagoon('add', arena, 'curve', '1', str(number))\n"
               "    lagoon('add', arena, 'squares', str(number), str(mine))\n"
               "members = json.loads(lagoon('show', '--json', arena))['members']\n"
               "assert any(m['name'] == 'total' and m['value'] >= 20 for m in members)\n");
    const Ran ran = shell("python3 " + script + ' ' + name + " 2 & python3 " + script + ' ' + name +
                          " 3 || exit 1; wait $! || exit 1");
    INFO(ran.err);
    CHECK(ran.status == 0);
    for (std::size_t i = 0; i < 20; ++i) CHECK(desk->curve[i].load() == 1);
    CHECK(desk->squares[2].load() + desk->squares[3].load() == 4 + 9 + 19 * 20 / 2);
    std::filesystem::remove(script);
    lagoon::remove(std::string_view{name});
}

TEST_CASE("tool: evict ends a process and takes back what it held") {
    const std::string name = unique("evicted");
    auto desk = make_desk(name);
    const pid_t holder = start("lease " + name + " clusters -- sleep 100");
    REQUIRE(eventually([&] { return desk->clusters.leased() == 1; }));
    const std::string pid = std::to_string(holder);
    const Ran done = lagoon_tool("evict --json " + name + " " + pid);
    CHECK(done.status == 0);
    CHECK(done.out.find("\"outcome\": \"ok\"") != std::string::npos);
    end_of(holder);
    CHECK(desk->clusters.idle() == 1);
    const Ran again = lagoon_tool("evict " + name + " " + pid);
    CHECK(again.status == 2);
    CHECK(again.err.find("is not attached") != std::string::npos);
    lagoon::remove(std::string_view{name});
}
