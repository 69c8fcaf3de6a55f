// join_refused_test.cpp: threads that the kernel refuses, or that come late. A forked child whose
// keeper is refused joins and leaves again between two instructions of another of its threads.
//
// The library's calls of pthread_create and syscall go through this file (the linker's --wrap):
// the first is refused once, the second tells when the other thread has come to the process's lock.
#include <lagoon/lagoon.hpp>

#include <pthread.h>
#include <sys/syscall.h>

#include <catch2/catch.hpp>
#include <cerrno>
#include <cstdarg>
#include <memory>
#include <stdexcept>
#include <thread>

#include "runtime/pool_making.hpp"
#include "support/pools.hpp"

using lagoon::Arena;
using lagoon::Outcome;
using lagoon::Reaped;
using support::Flag;
using support::unique_name;

namespace {

struct Desk {
    lagoon::Pool<int> pool{"pool", {.capacity = 1}};
    lagoon::Pool<int> tried{
        "tried", {.capacity = 1, .creation = {.retry_after = std::chrono::nanoseconds{1}}}};
    lagoon::Pool<int> limited{"limited",
                              {.capacity = 1,
                               .wait_order = lagoon::WaitOrder::first_come,
                               .limits = {.create = std::chrono::nanoseconds{1}}}};
    lagoon::Pool<int> two{"two", {.capacity = 3, .wait_order = lagoon::WaitOrder::first_come}};
};

// In the child, one after the other.
constexpr int claimed = 1;  // the first thread has a membership, and is about to lose it
constexpr int behind = 2;   // the second one has seen it, and waits for the process's lock
constinit std::atomic<int> step{0};
constinit thread_local bool is_refused = false;
constinit thread_local bool tells_its_wait = false;
constinit bool all_are_refused = false;

/// Threads that are started meanwhile do nothing until it is gone.
class HeldBack {
public:
    HeldBack() { now = this; }
    ~HeldBack() { end(); }
    HeldBack(const HeldBack&) = delete;
    HeldBack& operator=(const HeldBack&) = delete;
    void end() {
        now = nullptr;
        over_ = true;
        support::wait_until([this] { return inside_ == 0; });
    }
    void wait() {
        support::wait_until([this] { return over_.load(); });
        --inside_;
    }
    void add_one() { ++inside_; }
    static inline HeldBack* now = nullptr;

private:
    std::atomic<bool> over_{false};
    std::atomic<int> inside_{0};
};
struct LateThread {
    HeldBack* back;
    void* (*run)(void*);
    void* with;
};
void* run_late(void* argument) {
    const std::unique_ptr<LateThread> thread{static_cast<LateThread*>(argument)};
    thread->back->wait();
    return thread->run(thread->with);
}

void await(int wanted) {
    support::wait_until([&] { return step.load() >= wanted; });
}

}  // namespace

extern "C" {
// NOLINTBEGIN(bugprone-reserved-identifier)
int __real_pthread_create(pthread_t*, const pthread_attr_t*, void* (*)(void*), void*);
int __wrap_pthread_create(pthread_t* thread, const pthread_attr_t* attributes, void* (*run)(void*),
                          void* with) {
    if (all_are_refused) return EAGAIN;
    if (HeldBack* back = HeldBack::now; back != nullptr) {
        back->add_one();
        return __real_pthread_create(thread, attributes, &run_late,
                                     new LateThread{back, run, with});
    }
    if (!std::exchange(is_refused, false)) {
        return __real_pthread_create(thread, attributes, run, with);
    }
    step = claimed;
    await(behind);
    return EAGAIN;
}

long __real_syscall(long, ...);
long __wrap_syscall(long number, ...) {
    long given[6];
    va_list list;
    va_start(list, number);
    for (long& one : given) one = va_arg(list, long);
    va_end(list);
    if (number == SYS_futex && std::exchange(tells_its_wait, false)) step = behind;
    return __real_syscall(number, given[0], given[1], given[2], given[3], given[4], given[5]);
}
// NOLINTEND(bugprone-reserved-identifier)
}

TEST_CASE("members: a lane is not claimed under a membership that was given back meanwhile",
          "[child]") {
    const auto desk = Arena<Desk>::create(unique_name("join-refused"));
    REQUIRE(desk->pool.add(1));
    const Flag leased;
    const Flag looked;
    support::Child child{[&] {
        Outcome second = Outcome::ok;
        bool holds = false;
        std::thread other{[&] {
            await(claimed);
            tells_its_wait = true;
            auto lease = desk->pool.try_acquire();
            second = lease.status();
            holds = static_cast<bool>(lease);
            leased.raise();
            looked.wait();
        }};
        is_refused = true;
        const Outcome first = desk->pool.try_acquire().status();
        other.join();
        if (first != Outcome::not_attached) return 1;
        return holds && second == Outcome::ok ? 0 : 2;
    }};
    leased.wait();
    const Reaped reaped = desk.reap();
    const bool twice = static_cast<bool>(desk->pool.try_acquire());
    const std::uint64_t out = desk->pool.leased();
    looked.raise();
    CHECK(child.wait() == support::exited(0));
    CHECK(reaped == Reaped{});
    CHECK_FALSE(twice);
    CHECK(out == 1);
    // The lease was the thread's when the child ended: given back, for it was destroyed.
    CHECK(desk->pool.try_acquire());
}

TEST_CASE("pool making: where no thread is to be had the factory runs in who waits") {
    const auto desk = Arena<Desk>::create(unique_name("join-refused"));
    std::thread::id there;
    bool fails = false;
    desk.hooks(desk->pool, {.factory = [&] {
                   there = std::this_thread::get_id();
                   if (fails) throw std::runtime_error{"no more of them"};
                   return 7;
               }});
    SECTION("and is lent what it makes") {
        all_are_refused = true;
        CHECK(*desk->pool.acquire() == 7);
    }
    SECTION("and told of its failure") {
        fails = true;
        all_are_refused = true;
        CHECK_THROWS_AS(desk->pool.acquire(), std::runtime_error);
        CHECK(desk->pool.stats().empty == 1);
    }
    SECTION("which takes what it needs itself, and asks for nothing") {
        REQUIRE(desk->two.add(1));
        bool inner = false;
        desk.hooks(desk->two, {.factory = [&] {
                       there = std::this_thread::get_id();
                       inner = desk->two.acquire_for(std::chrono::milliseconds{1}).status() ==
                               Outcome::timed_out;
                       return 7;
                   }});
        const auto held = desk->two.acquire();
        all_are_refused = true;
        CHECK(*desk->two.acquire() == 7);
        CHECK(inner);
        CHECK(desk->two.stats().created == 2);
    }
    all_are_refused = false;
    CHECK(there == std::this_thread::get_id());
}

TEST_CASE("pool making: what who waits has made too late itself, it does not make again") {
    const auto desk = Arena<Desk>::create(unique_name("join-refused"));
    int calls = 0;
    desk.hooks(desk->limited, {.factory = [&] { return ++calls; }});
    all_are_refused = true;
    const auto none = desk->limited.acquire_for(std::chrono::seconds{1});
    all_are_refused = false;
    CHECK(none.phase() == lagoon::Phase::creating);
    CHECK(calls == 1);
    CHECK(desk->limited.stats().empty == 1);
}

TEST_CASE("pool making: what has not begun when nobody waits for it is not run") {
    const auto desk = Arena<Desk>::create(unique_name("join-refused"));
    std::atomic<int> calls{0};
    desk.hooks(desk->pool, {.factory = [&] { return ++calls; }});
    HeldBack back;
    CHECK(desk->pool.acquire_for(std::chrono::milliseconds{1}).phase() == lagoon::Phase::creating);
    CHECK(desk->pool.stats().empty == 1);
    SECTION("and its place is another's") { CHECK(desk->pool.add(7)); }
    SECTION("nor in the next one's name") {
        CHECK_FALSE(desk->pool.acquire_for(std::chrono::milliseconds{1}));
    }
    back.end();
    support::wait_until([&] {
        return lagoon::detail::makers_of(*lagoon::detail::attachment_of(&desk->pool)) == 0;
    });
    CHECK(calls == 0);
    CHECK(desk->pool.stats().create_failed == 0);
}

TEST_CASE("pool making: who tries again after a failure does so, though nobody waits any more") {
    const auto desk = Arena<Desk>::create(unique_name("join-refused"));
    std::atomic<int> calls{0};
    desk.hooks(desk->tried, {.factory = [&] {
                   if (++calls == 1) throw std::runtime_error{"no more of them"};
                   return calls.load();
               }});
    CHECK_THROWS_AS(desk->tried.acquire(), std::runtime_error);
    HeldBack back;
    CHECK_FALSE(desk->tried.acquire_for(std::chrono::milliseconds{1}));
    back.end();
    support::wait_until([&] { return desk->tried.idle() == 1; });
    CHECK(calls == 2);
    CHECK(*desk->tried.acquire() == 2);
}

TEST_CASE("pool making: an arena that is closed says busy also of what has not begun") {
    auto desk = Arena<Desk>::create(unique_name("join-refused"));
    desk.hooks(desk->tried, {.factory = [] { return 7; }});
    // Y7 relaxed store, no pair: nobody else is there yet.
    support::body_of(desk->tried).making.retry_ns.store(1, std::memory_order_relaxed);
    {
        HeldBack back;
        CHECK_FALSE(desk->tried.acquire_for(std::chrono::milliseconds{1}));
        CHECK(support::code_of([&] { return desk.close(), 0; }) == lagoon::Errc::busy);
    }
    support::wait_until([&] { return desk->tried.idle() == 1; });
    CHECK_NOTHROW(desk.close());
}
