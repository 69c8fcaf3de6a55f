// fork_family_test.cpp: handles, names and members of parents, children and their children.
#include <lagoon/lagoon.hpp>

#include <catch2/catch.hpp>

#include "support/copies.hpp"

using lagoon::Arena;
using lagoon::ArenaView;
using support::code_of;
using support::Ended;
using support::exists;
using support::exited;
using support::file_of;
using support::Flag;
using support::unique_name;
using namespace support::copies;

namespace {

constexpr bool follows_threads_of_a_child = !support::under_tsan;
constexpr const char* cannot_follow = "thread sanitizer cannot follow a forked child's keeper";

}  // namespace

TEST_CASE("fork: a child's handles are foreign, and a creator's copy never removes the name",
          "[fork][process]") {
    const auto way = each_way();
    INFO(name_of(way));
    const auto name = unique_name("fork");
    auto desk = Arena<Desk>::create(name);
    SECTION("destroyed unused") {
        REQUIRE(in_copy(way, [&] {
                    { const auto copy = std::move(desk); }
                    return exists(file_of(name)) ? 0 : 1;
                }) == exited(0));
    }
    SECTION("closed unused") {
        REQUIRE(in_copy(way, [&] {
                    desk.close();
                    return exists(file_of(name)) ? 0 : 1;
                }) == exited(0));
    }
    SECTION("used and closed") {
        if (!follows_threads_of_a_child)
            return support::skip("fork: used and closed", cannot_follow);
        REQUIRE(in_copy(way, [&] {
                    desk->hits.add(1);
                    desk.close();
                    if (members_of(name) != 1) return 1;
                    // And opened again.
                    auto again = Arena<Desk>::open(name);
                    again->total.add(1);
                    if (members_of(name) != 2) return 2;
                    again.close();
                    return members_of(name) == 1 ? 0 : 3;
                }) == exited(0));
        REQUIRE(desk->total.load() == 1);
    }
    SECTION("ended by exit()") {
        REQUIRE(in_copy(way, [&] {
                    static Arena<Desk> kept;  // NOLINT: destroyed at exit
                    kept = desk;
                    if (way != Way::fork) return 0;  // exit() is not for the others
                    std::fflush(nullptr);
                    kept = {};
                    return 0;
                }) == exited(0));
    }
    REQUIRE(exists(file_of(name)));
    REQUIRE(members_of(name) == 1);
    REQUIRE(code_of([&] { return Arena<Desk>::create(name); }) == lagoon::Errc::name_taken);
    desk.close();
    REQUIRE_FALSE(exists(file_of(name)));
}

TEST_CASE("fork: a child that is the last one left takes the name along", "[fork][process]") {
    if (!follows_threads_of_a_child) return support::skip("fork: the last one left", cannot_follow);
    const auto way = each_way();
    INFO(name_of(way));
    const auto name = unique_name("fork");
    const Flag step;
    auto desk = Arena<Desk>::create(name);
    const pid_t pid = copy_process(way);
    if (pid == 0) {
        support::end_with([&] {
            desk->hits.add(1);
            step.raise(1);
            step.wait(2);
            if (!exists(file_of(name))) return 1;
            desk.close();
            return exists(file_of(name)) ? 2 : 0;
        });
    }
    step.wait(1);
    desk.close();
    step.raise(2);
    REQUIRE(wait_for(pid) == exited(0));
}

TEST_CASE("fork: a grandchild takes part, too, and every generation is a member of its own",
          "[fork][process]") {
    const auto way = each_way();
    INFO(name_of(way));
    const auto name = unique_name("fork");
    const auto desk = Arena<Desk>::create(name);
    REQUIRE(desk->pool.add(1));
    REQUIRE(desk->pool.add(2));
    REQUIRE(desk->pool.add(3));
    const auto lease = desk->pool.acquire();
    REQUIRE(in_copy(way, [&] {
                const auto mine = desk->pool.acquire();
                if (!mine) return 1;
                const Ended ended = in_copy(way, [&] {
                    const auto own = desk->pool.try_acquire();
                    if (!own || members_of(name) != 3 || desk->pool.leased() != 3) return 1;
                    ::_exit(0);  // with the lease
                    return 2;
                });
                if (ended != exited(0)) return 2;
                // Its death is its own: it gives back what it held, and nothing of ours.
                if (desk.reap().leases != 1 || desk->pool.leased() != 2) return 3;
                ::_exit(0);
                return 4;
            }) == exited(0));
    REQUIRE(desk.reap().leases == 1);
    REQUIRE(desk->pool.leased() == 1);
}
