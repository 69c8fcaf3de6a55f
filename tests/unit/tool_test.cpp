// What `lagoon` shows and changes; its leases and its behaviour on damaged files are beside this.
#include <catch2/catch.hpp>

#include <nlohmann/json.hpp>

#include <unistd.h>

#include <csignal>
#include <filesystem>

#include "tool/run.hpp"

using namespace tool_test;
using nlohmann::json;

TEST_CASE("tool: ls of an empty directory prints nothing and succeeds") {
    const std::string empty = directory() + "/empty";
    std::filesystem::create_directory(empty);
    const Ran text = lagoon_tool("ls --directory " + empty);
    CHECK(text.status == 0);
    CHECK(text.out.empty());
    CHECK(text.err.empty());
    CHECK(parsed(lagoon_tool("--directory " + empty + " ls --json")) == json::array());
    std::filesystem::remove(empty);
    const Ran missing = lagoon_tool("ls --directory " + empty);
    CHECK(missing.status == 2);
    CHECK(missing.err.find(empty) != std::string::npos);
}

TEST_CASE("tool: ls lists the arenas with their living and dead processes") {
    const std::string name = unique("listed");
    auto desk = make_desk(name);
    const json all = parsed(lagoon_tool("ls --json"));
    REQUIRE(all.size() == 1);
    CHECK(all[0]["name"] == name);
    CHECK(all[0]["bytes"] == std::filesystem::file_size(directory() + "/lagoon." + name));
    CHECK(all[0]["lifetime"] == "persistent");
    CHECK(all[0]["alive"] == 1);
    CHECK(all[0]["dead"] == 0);
    CHECK(all[0]["problem"].is_null());
    const Ran text = lagoon_tool("ls");
    CHECK(text.out.starts_with("NAME "));
    CHECK(text.out.find("\n" + name + "  ") != std::string::npos);
    lagoon::remove(std::string_view{name});
}

TEST_CASE("tool: show prints facts, processes, members and values") {
    const std::string name = unique("shown");
    auto desk = make_desk(name);
    desk->total.add(55);
    desk->many.add(3);
    desk->east.hits.add(9);
    const json arena = parsed(lagoon_tool("show --json " + name));
    CHECK(arena["name"] == name);
    CHECK(arena["lifetime"] == "persistent");
    CHECK(arena["shut_down"] == false);
    CHECK(arena["creator_pid"] == ::getpid());
    REQUIRE(arena["processes"].size() == 1);
    CHECK(arena["processes"][0]["pid"] == ::getpid());
    CHECK(arena["processes"][0]["alive"] == true);
    CHECK(member(arena, "total")["value"] == 55);
    CHECK(member(arena, "total")["type"] == "Counter");
    CHECK(member(arena, "many")["value"] == 3);
    CHECK(member(arena, "ratio")["value"] == 1.5);
    CHECK(member(arena, "third")["value"] == 0.1);
    CHECK(member(arena, "flag")["value"] == false);
    CHECK(member(arena, "small")["value"] == 250);
    CHECK(member(arena, "precise")["value"] == 2.5);
    CHECK(member(arena, "east.hits")["value"] == 9);
    CHECK(member(arena, "wide")["value"]["hex"] ==
          "010000000000000002000000000000000300000000000000");
    CHECK(member(arena, "squares")["type"] == "Array<int>");
    CHECK(member(arena, "squares")["values"] == json{0, 1, 4, 9});
    CHECK(member(arena, "curve")["extent"] == 100);
    CHECK(member(arena, "curve")["values"].size() == 16);
    CHECK(member(arena, "nothing")["values"] == json::array());
    CHECK(member(parsed(lagoon_tool("show --limit 0 --json " + name)), "curve")["values"].size() ==
          100);
    const json pool = member(arena, "clusters")["pool"];
    CHECK(pool["capacity"] == 3);
    CHECK(pool["idle"] == 1);
    CHECK(pool["empty"] == 2);
    CHECK(pool["created"] == 1);
    REQUIRE(pool["slots"].size() == 1);
    CHECK(pool["slots"][0]["state"] == "idle");
    CHECK(pool["slots"][0]["value"].contains("hex"));
    CHECK(member(arena, "ports")["pool"]["slots"][0]["value"] == 8080);

    const Ran text = lagoon_tool("show " + name);
    CHECK(text.status == 0);
    CHECK(text.err.empty());
    for (const char* line : {"lifetime  persistent", "total      Counter", "[0, 1, 4, 9]",
                             "84 more", "1 idle, 2 empty", "pool clusters", "SLOT  STATE"}) {
        INFO(line);
        CHECK(text.out.find(line) != std::string::npos);
    }
    CHECK(lagoon_tool("show " + name).out == text.out);  // stable
    lagoon::remove(std::string_view{name});
}

TEST_CASE("tool: show changes nothing, not even by a member of its own") {
    const std::string name = unique("untouched");
    auto desk = make_desk(name);
    const std::string path = directory() + "/lagoon." + name;
    const std::string before = read_file(path);
    CHECK(lagoon_tool("show " + name).status == 0);
    CHECK(lagoon_tool("get " + name + " total").status == 0);
    CHECK(read_file(path) == before);
    lagoon::remove(std::string_view{name});
}

TEST_CASE("tool: show tells who holds a lock or a resource, and whether the holder is dead") {
    const std::string name = unique("held");
    auto desk = make_desk(name);
    desk->guard.lock();
    const pid_t holder = start("lease " + name + " clusters -- sleep 100");
    REQUIRE(eventually([&] { return desk->clusters.leased() == 1; }));
    json arena = parsed(lagoon_tool("show --json " + name));
    CHECK(member(arena, "guard")["lock"]["locked"] == true);
    CHECK(member(arena, "guard")["lock"]["owner"]["pid"] == ::getpid());
    CHECK(member(arena, "guard")["lock"]["owner"]["alive"] == true);
    CHECK(member(arena, "guard")["lock"]["dirty"] == false);
    CHECK(member(arena, "clusters")["pool"]["slots"][0]["state"] == "leased");
    CHECK(member(arena, "clusters")["pool"]["slots"][0]["owner"]["pid"] == holder);
    CHECK(member(arena, "clusters")["pool"]["slots"][0]["value"].is_null());
    CHECK(lagoon_tool("show " + name).out.find("locked by " + std::to_string(::getpid())) !=
          std::string::npos);
    desk->guard.unlock();
    desk.close();  // or our keeper would repair at once
    ::kill(holder, SIGKILL);
    CHECK(end_of(holder) == -SIGKILL);
    arena = parsed(lagoon_tool("show --json " + name));
    REQUIRE(arena["processes"].size() == 1);
    CHECK(arena["processes"][0]["alive"] == false);
    CHECK(member(arena, "clusters")["pool"]["slots"][0]["owner"]["alive"] == false);
    CHECK(member(arena, "guard")["lock"]["locked"] == false);
    CHECK(lagoon_tool("show " + name).out.find(std::to_string(holder) + " (dead)") !=
          std::string::npos);
    const json listing = parsed(lagoon_tool("ls --json"));
    CHECK(listing[0]["alive"] == 0);
    CHECK(listing[0]["dead"] == 1);
    lagoon::remove(std::string_view{name});
}

TEST_CASE("tool: get prints one value, one element, or all of them") {
    const std::string name = unique("read");
    auto desk = make_desk(name);
    CHECK(lagoon_tool("get " + name + " ratio").out == "1.5\n");
    CHECK(lagoon_tool("get " + name + " flag").out == "false\n");
    CHECK(lagoon_tool("get " + name + " squares 3").out == "9\n");
    CHECK(lagoon_tool("get " + name + " squares").out == "0\n1\n4\n9\n");
    CHECK(parsed(lagoon_tool("get --json " + name + " squares")) == json{0, 1, 4, 9});
    CHECK(lagoon_tool("get " + name + " nothing").out.empty());
    CHECK(lagoon_tool("get " + name + " table 1").out == "hex " + std::string(48, '0') + "\n");
    for (const char* wrong : {" squares 4", " squares -1", " total 0", " absent", " guard",
                              " clusters", " clusters 0"}) {
        const Ran ran = lagoon_tool("get " + name + wrong);
        INFO(wrong << ": " << ran.err);
        CHECK(ran.status == 2);
        CHECK(ran.out.empty());
        CHECK_FALSE(ran.err.empty());
    }
    lagoon::remove(std::string_view{name});
}

TEST_CASE("tool: add changes a number in one step and prints the one before") {
    const std::string name = unique("added");
    auto desk = make_desk(name);
    const auto add = [&](const std::string& arguments) {
        const Ran ran = lagoon_tool("add " + name + ' ' + arguments);
        INFO(arguments << ": " << ran.err);
        CHECK(ran.status == 0);
        return ran.out;
    };
    CHECK(add("total 5") == "0\n");
    CHECK(add("total -7") == "5\n");
    CHECK(desk->total.load() == -2);
    CHECK(add("many 4") == "4\n");  // of a sharded one the sum after
    CHECK(add("many -1") == "3\n");
    CHECK(desk->many.load() == 3);
    CHECK(add("ratio -0.25") == "1.5\n");
    CHECK(desk->ratio.load() == 1.25);
    CHECK(add("precise 1") == "2.5\n");
    CHECK(desk->precise.load() == 3.5L);
    CHECK(add("small 10") == "250\n");
    CHECK(desk->small.load() == 4);  // integers wrap
    CHECK(add("small -5") == "4\n");
    CHECK(desk->small.load() == 255);
    CHECK(add("squares 100 2") == "4\n");
    CHECK(desk->squares[2].load() == 104);
    CHECK(add("curve 0.5 99") == "0.0\n");
    CHECK(desk->curve[99].load() == 0.5);
    CHECK(add("east.hits 1") == "0\n");
    CHECK(desk->east.hits.load() == 1);
    CHECK(lagoon::ArenaView::open(name).processes().size() == 1);  // it has left
    lagoon::remove(std::string_view{name});
}

TEST_CASE("tool: add wakes whoever waits for the value") {
    const std::string name = unique("awaited");
    auto desk = make_desk(name);
    const pid_t adder = start("add " + name + " ratio 10 >/dev/null");
    const auto outcome =
        desk->ratio.wait_for([](double x) { return x > 9; }, std::chrono::seconds{60});
    CHECK(outcome == lagoon::Outcome::ok);
    CHECK(end_of(adder) == 0);
    lagoon::remove(std::string_view{name});
}

TEST_CASE("tool: add refuses what is no number, does not fit or is not there") {
    const std::string name = unique("refused");
    auto desk = make_desk(name);
    const std::string before = lagoon_tool("show --limit 0 " + name).out;
    for (const char* wrong : {"total",
                              "total x",
                              "total 1.5",
                              "total 9223372036854775808",
                              "total ''",
                              "total 1 0",
                              "small 256",
                              "small -256",
                              "ratio 1e",
                              "squares 1",
                              "squares 1 4",
                              "squares 1 -1",
                              "squares 1 18446744073709551616",
                              "nothing 1 0",
                              "note 1",
                              "wide 1",
                              "table 1 0",
                              "guard 1",
                              "clusters 1",
                              "clusters 1 0",
                              "absent 1",
                              "total 1 2 3"}) {
        const Ran ran = lagoon_tool("add " + name + ' ' + wrong);
        INFO(wrong << ": " << ran.err);
        CHECK(ran.status == 2);
        CHECK(ran.out.empty());
        CHECK_FALSE(ran.err.empty());
    }
    CHECK(lagoon_tool("show --limit 0 " + name).out == before);
    lagoon::remove(std::string_view{name});
}

TEST_CASE("tool: texts of an arena are printed with control characters escaped") {
    const std::string name = unique("texts");
    auto desk = make_desk(name);
    desk->note.store(lagoon::String<20>{"a\x1b[31m\\\n\xc2\x9b caf\xc3\xa9\xff"});
    const std::string expected = "a\\x1b[31m\\\\\\n\\xc2\\x9b caf\xc3\xa9\\xff";
    CHECK(lagoon_tool("get " + name + " note").out == expected + "\n");
    const Ran shown = lagoon_tool("show " + name);
    CHECK(shown.out.find('"' + expected + '"') != std::string::npos);
    CHECK(shown.out.find('\x1b') == std::string::npos);
    const json arena = parsed(lagoon_tool("show --json " + name));
    CHECK(member(arena, "note")["value"] == "a\x1b[31m\\\n\xc2\x9b caf\xc3\xa9\xef\xbf\xbd");
    const std::string odd = directory() + "/lagoon.\x1b[31mred";
    write_file(odd, "x");
    const Ran listed = lagoon_tool("ls");
    CHECK(listed.status == 0);
    CHECK(listed.out.find("\\x1b[31mred") != std::string::npos);
    CHECK(listed.out.find('\x1b') == std::string::npos);
    const Ran refused = lagoon_tool("show \"$(printf '\\033[31mred')\"");
    CHECK(refused.status == 2);
    CHECK(refused.err.find('\x1b') == std::string::npos);
    std::filesystem::remove(odd);
    lagoon::remove(std::string_view{name});
}

TEST_CASE("tool: reap takes back what a dead process held, and says so") {
    const std::string name = unique("reaped");
    auto desk = make_desk(name);
    const pid_t holder = start("lease " + name + " clusters -- sleep 100");
    REQUIRE(eventually([&] { return desk->clusters.leased() == 1; }));
    desk.close();
    ::kill(holder, SIGKILL);
    end_of(holder);
    const json done = parsed(lagoon_tool("reap --json " + name));
    CHECK(done["processes"] == 1);
    CHECK(done["leases"] == 1);
    CHECK(done["dirty_left"] == 0);
    CHECK(done["removed"] == false);
    const Ran again = lagoon_tool("reap " + name);
    CHECK(again.status == 0);
    CHECK(again.out.find("processes   0\n") != std::string::npos);
    auto back = lagoon::Arena<Desk>::open(name);
    CHECK(back->clusters.idle() == 1);
    CHECK(back->clusters.try_acquire().recovered());
    lagoon::remove(std::string_view{name});
}

TEST_CASE("tool: reap leaves a slot dirty that wants a hook, and says so") {
    const std::string name = unique("hooked");
    auto desk = make_desk(name);
    desk.hooks(&Desk::clusters, {.check = [](Cluster&) { return true; }});
    const pid_t holder = start("lease " + name + " clusters -- sleep 100");
    REQUIRE(eventually([&] { return desk->clusters.leased() == 1; }));
    desk.close();
    ::kill(holder, SIGKILL);
    end_of(holder);
    const Ran done = lagoon_tool("reap " + name);
    CHECK(done.status == 0);
    CHECK(done.out.find("dirty_left  1\n") != std::string::npos);
    CHECK(done.err.find("want a hook") != std::string::npos);
    const json arena = parsed(lagoon_tool("show --json " + name));
    CHECK(member(arena, "clusters")["pool"]["slots"][0]["state"] == "dirty");
    const Ran none = lagoon_tool("lease --no-wait " + name + " clusters -- true");
    CHECK(none.status == 1);
    CHECK(none.err.find("1 dirty, which want a hook") != std::string::npos);
    lagoon::remove(std::string_view{name});
}

TEST_CASE("tool: reap removes a scoped arena that nobody is left in") {
    const std::string name = unique("left");
    const std::string path = directory() + "/lagoon." + name;
    {
        const auto desk = lagoon::Arena<Desk>::create(name);
        write_file(path + "x", read_file(path));
    }
    std::filesystem::rename(path + "x", path);  // as its last member's death leaves it
    CHECK(parsed(lagoon_tool("reap --json " + name))["removed"] == true);
    CHECK_FALSE(std::filesystem::exists(path));
    CHECK(lagoon_tool("reap " + name).status == 2);
}

TEST_CASE("tool: rm removes a name, and an absent one is an outcome") {
    const std::string name = unique("gone");
    auto desk = make_desk(name);
    const Ran removed = lagoon_tool("rm " + name);
    CHECK(removed.status == 0);
    CHECK(removed.out.empty());
    CHECK_FALSE(std::filesystem::exists(directory() + "/lagoon." + name));
    desk->total.add(1);  // who is attached goes on
    const Ran absent = lagoon_tool("rm --json " + name);
    CHECK(absent.status == 1);
    CHECK(json::parse(absent.out)["removed"] == false);
    CHECK(absent.err.find("does not exist") != std::string::npos);
}

TEST_CASE("tool: wrong usage is status 2, help and version are not") {
    for (const char* wrong : {"",
                              "nonsense",
                              "show",
                              "show a b",
                              "show a --nonsense",
                              "ls extra",
                              "lease a",
                              "lease a b",
                              "lease a b --timeout -1 -- true",
                              "lease a b --timeout 1 --no-wait -- true",
                              "show 'a/b'",
                              "rm ..",
                              "show absent",
                              "reap absent",
                              "get absent x",
                              "add absent x 1",
                              "evict absent 1",
                              "evict a",
                              "evict a b",
                              "lease absent x -- true"}) {
        const Ran ran = lagoon_tool(wrong);
        INFO("lagoon " << wrong);
        CHECK(ran.status == (std::string{wrong} == "rm .." ? 1 : 2));
        CHECK(ran.out.empty());
        CHECK_FALSE(ran.err.empty());
    }
    for (const char* right : {"--help", "--version", "show --help", "lease --help"}) {
        const Ran ran = lagoon_tool(right);
        INFO("lagoon " << right);
        CHECK(ran.status == 0);
        CHECK_FALSE(ran.out.empty());
        CHECK(ran.err.empty());
    }
    CHECK(lagoon_tool("--version").out.starts_with("lagoon "));
}

TEST_CASE("tool: output that cannot be written is an error") {
    const std::string name = unique("full");
    auto desk = make_desk(name);
    CHECK(shell("lagoon get " + name + " total >/dev/full").status == 2);
    lagoon::remove(std::string_view{name});
}
