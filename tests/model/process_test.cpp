// process_test.cpp: what the threads of one process share beside any arena: its mutex, and what
// they tell the keeper.
#include <catch2/catch.hpp>

#include "depth.hpp"
#include "programs.hpp"
#include "runtime/futex_mutex.hpp"
#include "runtime/keeper_words.hpp"
#include "runtime/turn.hpp"

using namespace model;

namespace {

struct Guarded {
    detail::Atomic<std::uint32_t> mutex;
    std::uint64_t a, b;
};

void work(Guarded& guarded) {
    detail::lock_mutex(guarded.mutex);
    require(guarded.a == guarded.b, "two are inside");
    ++guarded.a;
    step();
    ++guarded.b;
    detail::unlock_mutex(guarded.mutex);
}

struct Turned {
    detail::Atomic<std::uint64_t> turn;
    std::uint64_t a, b;
};

void take_turn(Turned& turned) {
    const detail::Turn turn{&turned.turn, 7};
    require(turned.a == turned.b, "two have their turn");
    ++turned.a;
    step();
    ++turned.b;
}

/// One arena; `mapped` is plain memory that goes when the arena is dropped.
struct Watch {
    detail::KeeperWords words;
    std::uint64_t mapped;
};
detail::Attachment* const arena = reinterpret_cast<detail::Attachment*>(64);

void keep(Watch& watch) {
    while (!watch.words.is_ending()) {
        const std::uint32_t seen = watch.words.look();
        if (watch.words.is_ending()) break;
        const detail::KeeperWords::Reading reading{watch.words};
        if (reading.arena() != nullptr) {
            require(watch.mapped == 1, "the keeper reads an arena that is gone");
        }
        reading.done();
        watch.words.sleep(seen, detail::for_ever);
    }
}

/// A keeper that ends when it has found something to watch.
void find_watched(Watch& watch) {
    for (;;) {
        const std::uint32_t seen = watch.words.look();
        const detail::KeeperWords::Reading reading{watch.words};
        if (reading.arena() != nullptr) {
            return require(watch.mapped == 1, "it is not there yet");
        }
        reading.done();
        watch.words.sleep(seen, detail::for_ever);
    }
}

void begin_watch(Watch& watch) {
    watch.mapped = 1;
    watch.words.watch(arena);
    watch.words.poke();
}
void drop(Watch& watch) {
    if (watch.words.watched() == arena) watch.words.watch(nullptr);
    watch.words.await_unread(arena);
    watch.mapped = 0;
    watch.words.end();
}

}  // namespace

TEST_CASE("model: the mutex of a process excludes, and nobody sleeps through its release") {
    const auto twice = [](Guarded& guarded) {
        work(guarded);
        work(guarded);
    };
    look_everywhere(small_program<Guarded>("mutex.two", {twice, twice}), 3);
    look_everywhere(small_program<Guarded>("mutex.three", {work, work, work}), 2);
}

TEST_CASE("model: one thread of a process has its turn at a time") {
    look_everywhere(small_program<Turned>("turn.two", {take_turn, take_turn}), 3);
}

TEST_CASE("model: a turn that a fork has copied is nobody's") {
    const auto after_fork = [](Turned& turned) {
        // Y6 relaxed RMW, no pair: of a thread that is not there.
        turned.turn.exchange(6, std::memory_order_relaxed);
        take_turn(turned);
    };
    const auto beside = [](Turned&) { step(); };
    look(small_program<Turned>("turn.forked", {after_fork, beside}), Under::coherent, 1);
}

TEST_CASE("model: the keeper reads no arena that is gone, and hears of its end") {
    const auto use = [](Watch& watch) {
        begin_watch(watch);
        drop(watch);
    };
    look_everywhere(small_program<Watch>("keeper.drop", {use, keep}), 3);
}

TEST_CASE("model: the keeper hears of what it is to watch") {
    look_everywhere(small_program<Watch>("keeper.watch", {begin_watch, find_watched}), 3);
}
