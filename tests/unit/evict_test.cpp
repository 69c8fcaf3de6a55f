// evict_test.cpp: ending another process of an arena, and what it held.
#include <lagoon/lagoon.hpp>

#include <sys/syscall.h>
#include <unistd.h>

#include <catch2/catch.hpp>
#include <cerrno>
#include <csignal>
#include <string>

#include "runtime/attachment.hpp"
#include "support/pools.hpp"
#include "support/sandbox.hpp"

using lagoon::Arena;
using lagoon::ArenaView;
using lagoon::Errc;
using lagoon::Outcome;
using support::Child;
using support::exited;
using support::Flag;
using support::killed_by;
using support::not_allowed;
using support::unique_name;
using namespace std::chrono_literals;

namespace {

struct Desk {
    lagoon::Lock lock{"lock"};
    lagoon::Pool<int> pool{"pool", {.capacity = 2}};
};

std::uint32_t number_of(const Child& child) { return static_cast<std::uint32_t>(child.pid()); }

std::pair<Errc, std::string> error_of(const Arena<Desk>& desk, std::uint32_t pid) {
    try {
        (void)desk.evict(pid);
    } catch (const lagoon::Error& error) {
        return {error.errc(), error.what()};
    }
    return {};
}

}  // namespace

TEST_CASE("evict: the process is killed, and what it held comes back", "[evict][process]") {
    const bool keeper = GENERATE(true, false);
    const bool stopped = GENERATE(false, true);
    const auto name = unique_name("evict");
    const auto desk = Arena<Desk>::create(name);
    REQUIRE(desk->pool.add(1));
    const Flag holding;
    auto other = support::holder<Desk>(name, holding, keeper);
    holding.wait();
    if (stopped) support::stop(other);
    CHECK(desk.evict(number_of(other)) == Outcome::ok);
    CHECK(other.wait() == killed_by(SIGKILL));
    CHECK(desk->pool.leased() == 0);
    CHECK(desk->pool.try_acquire().recovered());
    CHECK(desk->lock.try_lock().owner_died());
    CHECK(ArenaView::open(name).processes().size() == 1);
}

TEST_CASE("evict: a deadline or a stop request ends the wait, not the killing",
          "[evict][process]") {
    const auto name = unique_name("evict");
    const auto desk = Arena<Desk>::create(name);
    REQUIRE(desk->pool.add(1));
    const bool by_token = GENERATE(true, false);
    const Flag holding;
    auto other = support::holder<Desk>(name, holding);
    holding.wait();
    std::stop_source stop;
    stop.request_stop();
    const Outcome outcome =
        by_token ? desk.evict(number_of(other), stop.get_token())
                 : desk.evict_until(std::chrono::steady_clock::time_point::min(), number_of(other));
    // Its death may be proved at the first look.
    CHECK((outcome == Outcome::ok ||
           outcome == (by_token ? Outcome::cancelled : Outcome::timed_out)));
    CHECK(other.wait() == killed_by(SIGKILL));
    (void)desk.reap();
    CHECK(desk->pool.leased() == 0);
}

TEST_CASE("evict: nobody but an attached process is killed", "[evict][process]") {
    // Forked before there is an arena, or it would have it in its memory.
    const Flag done;
    Child stranger{[&] {
        done.wait();
        return 0;
    }};
    const auto name = unique_name("evict");
    const auto desk = Arena<Desk>::create(name);
    const auto [code, text] = error_of(desk, number_of(stranger));
    CHECK(code == Errc::not_found);
    CHECK(text.find("process " + std::to_string(stranger.pid()) + " is not attached") !=
          std::string::npos);
    CHECK(error_of(desk, static_cast<std::uint32_t>(::getpid())).first == Errc::invalid_argument);

    REQUIRE(desk->pool.add(1));
    const Flag holding;
    auto other = support::holder<Desk>(name, holding);
    holding.wait();
    auto& entry = desk.attached().member_entry(1);
    REQUIRE(entry.pid == number_of(other));
    SECTION("where damage has put another number there") {
        entry.pid = number_of(stranger);
        CHECK(error_of(desk, number_of(stranger)).first == Errc::corrupt);
    }
    SECTION("where the number is another namespace's") {
        entry.pid_namespace ^= 1;
        CHECK(error_of(desk, number_of(other)).first == Errc::not_supported);
    }
    SECTION("where its number has gone to another process since it died") {
        (void)other.kill();
        entry.pid = number_of(stranger);
        CHECK(error_of(desk, number_of(stranger)).first == Errc::not_found);
    }
    done.raise();
    CHECK(stranger.wait() == exited(0));
}

TEST_CASE("evict: without pidfds nobody is killed, and the error says so", "[evict][process]") {
    const auto name = unique_name("evict");
    const auto desk = Arena<Desk>::create(name);
    REQUIRE(desk->pool.add(1));
    const Flag holding;
    auto other = support::holder<Desk>(name, holding);
    holding.wait();
    const auto ended = support::in_child([&] {
        const auto same = Arena<Desk>::open(name);
        if (!support::refuse({{SYS_pidfd_open}}, ENOSYS)) return not_allowed;
        return error_of(same, number_of(other)).first == Errc::not_supported ? 0 : 1;
    });
    if (ended == exited(not_allowed)) {
        return support::skip("evict: without pidfds", "no seccomp filters");
    }
    CHECK(ended == exited(0));
    CHECK(other.kill() == killed_by(SIGKILL));
}

TEST_CASE("evict: a process of another user is not killed, and the error says so",
          "[evict][process]") {
    if (::geteuid() != 0) {
        return support::skip("evict: another user's process", "needs to be root to become nobody");
    }
    const support::OpenDirectory open;
    const auto name = unique_name("evict");
    const auto desk = Arena<Desk>::create(name, {.mode = 0666});
    REQUIRE(desk->pool.add(1));
    const Flag holding;
    auto other = support::holder<Desk>(name, holding);
    holding.wait();
    CHECK(support::in_child([&] {
              return support::as_nobody([&] {
                  const auto same = Arena<Desk>::open(name);
                  return error_of(same, number_of(other)).first == Errc::not_permitted ? 0 : 1;
              });
          }) == exited(0));
    CHECK(other.kill() == killed_by(SIGKILL));
}

TEST_CASE("evict: the arena's struct need not be known", "[evict][process]") {
    const auto name = unique_name("evict");
    const auto desk = Arena<Desk>::create(name);
    REQUIRE(desk->pool.add(1));
    const Flag holding;
    auto other = support::holder<Desk>(name, holding);
    holding.wait();
    CHECK(support::in_child([&] {
              return lagoon::evict(name, number_of(other)) == Outcome::ok ? 0 : 1;
          }) == exited(0));
    CHECK(other.wait() == killed_by(SIGKILL));
    CHECK(desk->pool.leased() == 0);
    REQUIRE_THROWS_AS(lagoon::evict("no-such-arena-" + name, 1), lagoon::Error);
}
