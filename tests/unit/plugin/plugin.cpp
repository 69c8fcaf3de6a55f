// plugin.cpp: a library that a program loads at run time. Built twice: by the other compiler,
// without a copy of lagoon, and by the program's compiler, with a copy of its own.
#include <optional>
#include <thread>

#include "unit/plugin/desk.hpp"

namespace {

using lagoon::Arena;
using lagoon::Lease;
using plugin::Desk;

struct Held {
    Arena<Desk> desk;
    Lease<Desk::Job> lease;
};
std::optional<Held>& held() {
    static std::optional<Held> instance;
    return instance;
}

int use_all(const char* name) {
    auto desk = Arena<Desk>::open(name);
    if (desk->numbers.size() != 5 || desk->wide.size() != 6 || desk->jobs.capacity() != 5) return 1;
    if (desk->numbers[4].load() != 44 || desk->wide.span()[5].text != "five") return 2;
    if (desk->phase.load() != Desk::Phase::busy || desk->several.load()[4] != 4) return 3;
    if (desk->part.letter.load() != 'p' || desk->part.words[1].load() != 11) return 4;
    desk->total.add(1);
    desk->hits.add(1);
    if (!desk->lock.try_lock()) return 5;
    desk->lock.unlock();
    auto lease = desk->jobs.try_acquire();
    if (!lease || lease->text != "first") return 6;
    lease->number += 1;
    lease.give_back();
    int in_thread = 7;
    std::thread{[&] {
        auto other = desk->jobs.try_acquire();
        in_thread = other && other->number == 1 ? 0 : 8;
    }}.join();
    desk.close();
    return in_thread;
}

template <class Call>
int guarded(Call&& call) noexcept {
    try {
        return call();
    } catch (const std::exception&) {
        return 100;
    }
}

int use(const char* name) noexcept {
    return guarded([&] { return use_all(name); });
}
long borrow(Desk* desk, long rounds) noexcept {
    long lent = 0;
    for (long i = 0; i < rounds; ++i) {
        auto lease = desk->jobs.try_acquire();
        if (lease) ++lent;
    }
    return lent;
}
int hold(const char* name) noexcept {
    return guarded([&] {
        held().emplace();
        held()->desk = Arena<Desk>::open(name);
        held()->lease = held()->desk->jobs.try_acquire();
        return held()->lease && held()->desk->lock.try_lock() ? 0 : 1;
    });
}
int let_go() noexcept {
    return guarded([&] {
        held()->lease.give_back();
        held()->desk->lock.unlock();
        held().reset();
        return 0;
    });
}
int reap(const char* name) noexcept {
    return guarded([&] { return static_cast<int>(lagoon::reap(name).processes); });
}

constexpr plugin::Functions functions{use,    borrow, hold, let_go, reap,
#ifdef __clang__
                                      "clang"
#else
                                      "gcc"
#endif
};

}  // namespace

extern "C" const plugin::Functions* plugin_functions() { return &functions; }
