// pool_drain_test.cpp: the ends of a pool, and what an outcome says in words.
#include <lagoon/lagoon.hpp>

#include <atomic>
#include <catch2/catch.hpp>
#include <string>
#include <thread>

#include "support/pools.hpp"

using lagoon::Arena;
using lagoon::Outcome;
using support::Child;
using support::Flag;
using support::unique_name;
using namespace std::chrono_literals;

namespace {

struct Desk {
    lagoon::Pool<int> pool{"pool", {.capacity = 3}};
};

Arena<Desk> make_desk(int filled) {
    auto desk = Arena<Desk>::create(unique_name("drain"));
    for (int i = 0; i < filled; ++i) REQUIRE(desk->pool.add(i));
    return desk;
}

/// A process with a lease, until it is killed.
Child start_borrower(const std::string& name, const Flag& holding) {
    Child borrower{[&]() -> int {
        const auto same = Arena<Desk>::open(name);
        const auto lease = same->pool.acquire();
        holding.raise();
        support::wait_for_death();
    }};
    holding.wait();
    return borrower;
}

bool has(const std::string& text, const std::string& piece) {
    return text.find(piece) != std::string::npos;
}

}  // namespace

TEST_CASE("pool drain: what is idle ends at once, and it is ok when nothing is lent") {
    const auto desk = make_desk(2);
    std::atomic<int> ended{0};  // destroy runs in whichever thread ends it
    desk.hooks(&Desk::pool, {.destroy = [&](int&) { ++ended; }});
    CHECK(desk->pool.drain() == Outcome::ok);
    CHECK(ended == 2);
    CHECK(desk->pool.closed());
    CHECK(desk->pool.stats().empty == 3);
    CHECK(desk->pool.drain() == Outcome::ok);
}

TEST_CASE("pool drain: it waits for what is lent, and ends it") {
    const auto desk = make_desk(2);
    std::atomic<int> ended{0};  // destroy runs in whichever thread ends it
    desk.hooks(&Desk::pool, {.destroy = [&](int&) { ++ended; }});
    auto lease = desk->pool.acquire();
    std::atomic<bool> drained{false};
    std::thread closer{[&] {
        CHECK(desk->pool.drain() == Outcome::ok);
        drained = true;
    }};
    support::wait_until([&] { return desk->pool.closed(); });
    CHECK(desk->pool.acquire().status() == Outcome::closed);
    CHECK_FALSE(drained);
    lease.give_back();
    closer.join();
    CHECK(ended == 2);
    CHECK(desk->pool.stats().empty == 3);
}

TEST_CASE("pool drain: a deadline or a stop request ends the wait, and the pool stays closed") {
    const auto desk = make_desk(1);
    auto lease = desk->pool.acquire();
    CHECK(desk->pool.drain_for(1ms) == Outcome::timed_out);
    CHECK(desk->pool.drain_until(std::chrono::steady_clock::time_point::min()) ==
          Outcome::timed_out);
    std::stop_source stop;
    stop.request_stop();
    CHECK(desk->pool.drain(stop.get_token()) == Outcome::cancelled);
    CHECK(desk->pool.closed());
    *lease = 7;  // it is still the holder's
    lease.give_back();
    CHECK(desk->pool.stats().empty == 3);
}

TEST_CASE("pool drain: a borrower's death counts as its return", "[process]") {
    const auto desk = make_desk(1);
    const std::string name{desk.name()};
    const Flag holding;
    Child borrower = start_borrower(name, holding);
    std::thread killer{[&] {
        support::wait_until([&] { return desk->pool.closed(); });
        (void)borrower.kill();
    }};
    CHECK(desk->pool.drain() == Outcome::ok);
    killer.join();
    CHECK(desk->pool.leased() == 0);
    CHECK(desk->pool.stats().empty == 3);
}

TEST_CASE("pool explain: an outcome is told with the pool's counts and its holders", "[process]") {
    const auto desk = make_desk(2);
    const std::string name{desk.name()};
    const auto mine = desk->pool.acquire();
    const Flag holding;
    Child borrower = start_borrower(name, holding);
    support::stop(borrower);
    const std::string text = desk->pool.explain(desk->pool.try_acquire().status());
    CHECK(has(text, "arena '" + name + "': pool 'pool': would_block: nothing is idle now"));
    CHECK(has(text, "capacity 3: 2 leased, 0 idle, 0 being created"));
    CHECK(has(text, "1 empty"));
    CHECK(has(text, std::to_string(::getpid()) + " (1)"));
    CHECK(has(text, std::to_string(borrower.pid()) + " (1, stopped)"));
    desk->pool.close();
    CHECK(has(desk->pool.explain(desk->pool.acquire().status()), "closed: "));
}
