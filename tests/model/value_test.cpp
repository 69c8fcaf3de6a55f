// value_test.cpp: values of both widths, arrays' elements and counters.
#include <catch2/catch.hpp>

#include <lagoon/array.hpp>
#include <lagoon/counter.hpp>

#include "depth.hpp"
#include "pools.hpp"

using namespace model;

namespace {

struct Wide {
    std::uint64_t a, b, c;
};

void whole(const Wide& value) {
    require(value.a == value.b && value.b == value.c, "a value was torn");
}

struct WideRoot {
    lagoon::Value<Wide> value{"value", {0, 0, 0}};
};
struct NarrowRoot {
    lagoon::Value<std::uint64_t> value{"value"};
};

template <class Root>
void with_lane(Root& root) {
    (void)detail::lane_of(&root.value);
}

Scene<WideRoot> wide(const char* name, MachineOptions options = {}) {
    Scene<WideRoot> scene{name, std::move(options)};
    scene.check([](WideRoot& root) {
        detail::repair_the_dead(*detail::attachment_of(&root));
        const Wide before = root.value.load();
        whole(before);
        root.value.store({9, 9, 9});
        whole(root.value.load());
    });
    return scene;
}

const auto store_twice = [](WideRoot& root) {
    root.value.store({1, 1, 1});
    root.value.store({2, 2, 2});
};
const auto look_at = [](WideRoot& root) { whole(root.value.load()); };
const auto increment = [](WideRoot& root) {
    const Wide before = root.value.update([](const Wide& v) {
        return Wide{v.a + 1, v.b + 1, v.c + 1};
    });
    whole(before);
};
const auto repair = [](WideRoot& root) { detail::repair_the_dead(*detail::attachment_of(&root)); };

}  // namespace

TEST_CASE("model: a wide value is read whole while two write it") {
    auto one = wide("value.read");
    one.actor("a", 0, store_twice, with_lane<WideRoot>).actor("b", 1, look_at, with_lane<WideRoot>);
    look_everywhere(one.program(), 3);
    auto two = wide("value.read.two");
    two.actor("a", 0, store_twice, with_lane<WideRoot>)
        .actor("b", 1, increment, with_lane<WideRoot>)
        .actor("c", 2, look_at, with_lane<WideRoot>);
    look_everywhere(two.program(), 2);
}

TEST_CASE("model: updates of a wide value are lost by none") {
    auto scene = wide("value.update");
    for (int i = 0; i < 3; ++i) {
        scene.actor(std::string(1, static_cast<char>('a' + i)), i, increment, with_lane<WideRoot>);
    }
    scene.check([](WideRoot& root) { require(root.value.load().a == 3, "an update was lost"); });
    look_everywhere(scene.program(), 2);
}

TEST_CASE("model: a change of a wide value that throws leaves the right to write to the next") {
    auto scene = wide("value.throws");
    const auto throws = [](WideRoot& root) {
        try {
            root.value.update([](const Wide&) -> Wide { throw 1; });
        } catch (int) {
        }
    };
    scene.actor("a", 0, throws, with_lane<WideRoot>)
        .actor("b", 1, increment, with_lane<WideRoot>)
        .actor("c", 2, look_at, with_lane<WideRoot>);
    scene.check([](WideRoot& root) { require(root.value.load().a == 1, "an update was lost"); });
    look_everywhere(scene.program(), 2);
}

TEST_CASE("model: a wide value whose writer dies is the old one or the new one") {
    auto scene = wide("value.death");
    scene.actor("a", 0, store_twice, with_lane<WideRoot>)
        .actor("b", 1, increment, with_lane<WideRoot>)
        .actor("c", 2, look_at, with_lane<WideRoot>)
        .mortal({0});
    look_everywhere(scene.program(), 1, 1);
}

TEST_CASE("model: a reader of a copy that a dead writer was at does not take it for whole") {
    auto scene = wide("value.death.reader");
    scene.actor("a", 0, store_twice, with_lane<WideRoot>)
        .actor("b", 1, repair, with_lane<WideRoot>)
        .actor("c", 2, look_at, with_lane<WideRoot>)
        .mortal({0});
    look_everywhere(scene.program(), 2, 1);
}

TEST_CASE("model: two repair a wide value beside its next writer") {
    auto scene = wide("value.death.two-reapers", {.lanes = 3});
    scene.actor("a", 0, store_twice, with_lane<WideRoot>)
        .actor("b", 1, repair, with_lane<WideRoot>)
        .actor("c", 2,
               [](WideRoot& root) {
                   await([] { return is_buried(0) || is_finished(0); });
                   repair(root);
                   increment(root);
               })
        .mortal({0});
    look_everywhere(scene.program(), 2, 1);
}

TEST_CASE("model: a change of a value is not missed by who waits for it") {
    Scene<NarrowRoot> narrow{"value.wait"};
    narrow
        .actor(
            "a", 0, [](NarrowRoot& root) { root.value.store(1); }, with_lane<NarrowRoot>)
        .actor(
            "b", 1,
            [](NarrowRoot& root) {
                const auto outcome = root.value.wait([](std::uint64_t v) { return v >= 2; });
                require(outcome == lagoon::Outcome::ok, "not ok");
            },
            with_lane<NarrowRoot>)
        .actor(
            "c", 2, [](NarrowRoot& root) { root.value.fetch_add(1); }, with_lane<NarrowRoot>);
    // The store may come after the addition: then one more is needed.
    narrow.actor(
        "d", 2,
        [](NarrowRoot& root) {
            await([] { return is_finished(0) && is_finished(2); });
            root.value.fetch_add(1);
        },
        with_lane<NarrowRoot>);
    look_everywhere(narrow.program(), 2);
    auto scene = wide("value.wait.wide");
    scene.actor("a", 0, store_twice, with_lane<WideRoot>)
        .actor(
            "b", 1,
            [](WideRoot& root) {
                const auto outcome = root.value.wait([](const Wide& v) {
                    whole(v);
                    return v.a == 2;
                });
                require(outcome == lagoon::Outcome::ok, "not ok");
            },
            with_lane<WideRoot>);
    look_everywhere(scene.program(), 2);
}

TEST_CASE("model: two waiters for a value are both woken") {
    Scene<NarrowRoot> scene{"value.wait.two"};
    const auto wait = [](NarrowRoot& root) {
        (void)root.value.wait([](std::uint64_t v) { return v == 1; });
    };
    scene.actor("a", 0, wait, with_lane<NarrowRoot>)
        .actor("b", 1, wait, with_lane<NarrowRoot>)
        .actor(
            "c", 2, [](NarrowRoot& root) { root.value.store(1); }, with_lane<NarrowRoot>);
    look_everywhere(scene.program(), 2);
}

namespace {

struct Carrier {
    lagoon::Array<Resource> data{"data", 4};
    lagoon::Array<std::uint64_t> element{"element", 1};
    lagoon::Counter counter{"counter"};
    lagoon::Value<std::uint64_t> value{"value"};
};

/// One writes plain data and says so by `say`; the other who `hears` it reads the data.
Program carried(const char* name, std::function<void(Carrier&)> say,
                std::function<bool(Carrier&)> hears) {
    Scene<Carrier> scene{name};
    scene
        .actor("a", 0,
               [say](Carrier& root) {
                   root.data.at(0) = {5, 5};
                   say(root);
               })
        .actor("b", 1, [hears](Carrier& root) {
            if (hears(root)) require(root.data.at(0).a == 5, "the data has not come along");
        });
    return scene.program();
}

}  // namespace

TEST_CASE("model: an element, a counter and a value carry what was written before") {
    const std::vector<std::pair<const char*, std::function<void(Carrier&)>>> says{
        {"store", [](Carrier& r) { r.element[0].store(1); }},
        {"exchange", [](Carrier& r) { r.element[0].exchange(1); }},
        {"add", [](Carrier& r) { r.element[0].add(1); }},
        {"sub", [](Carrier& r) { r.element[0].sub(static_cast<std::uint64_t>(-1)); }},
        {"update", [](Carrier& r) { r.element[0].update([](auto) { return 1; }); }},
    };
    const std::vector<std::pair<const char*, std::function<bool(Carrier&)>>> hears{
        {"load", [](Carrier& r) { return r.element[0].load() == 1; }},
        {"exchange", [](Carrier& r) { return r.element[0].exchange(2) == 1; }},
        {"add", [](Carrier& r) { return r.element[0].add(1) == 1; }},
        {"sub", [](Carrier& r) { return r.element[0].sub(1) == 1; }},
        {"compare",
         [](Carrier& r) {
             std::uint64_t one = 1;
             return r.element[0].compare_exchange(one, 2);
         }},
        {"compare-fails",
         [](Carrier& r) {
             std::uint64_t other = 7;
             r.element[0].compare_exchange(other, 2);
             return other == 1;
         }},
    };
    for (const auto& [said, say] : says) {
        for (const auto& [heard, hear] : hears) {
            const std::string name = std::string{"array."} + said + "." + heard;
            look(carried(name.c_str(), say, hear), Under::histories, 2);
        }
    }
    look(carried(
             "counter", [](Carrier& r) { r.counter.publish(1); },
             [](Carrier& r) { return r.counter.observe() == 1; }),
         Under::histories, 2);
    const auto while_updating = [](Carrier& r) {
        r.value.update([&](std::uint64_t v) {
            if (v == 1) require(r.data.at(0).a == 5, "the data has not come along");
            return v;
        });
        return false;
    };
    look(carried(
             "value.narrow.updating", [](Carrier& r) { r.value.store(1); }, while_updating),
         Under::histories, 2);
    const auto one_more = [](Carrier& r) {
        std::int64_t none = 0;
        r.counter.compare_exchange(none, 1);
    };
    const auto sees_one = [](Carrier& r) {
        std::int64_t other = 7;
        return !r.counter.compare_exchange(other, 8) && other == 1;
    };
    const auto takes_one = [](Carrier& r) {
        std::int64_t one = 1;
        return r.counter.compare_exchange(one, 2);
    };
    const auto publish = [](Carrier& r) { r.counter.publish(1); };
    look(carried("counter.compared", one_more, takes_one), Under::histories, 2);
    look(carried("counter.compared.seen", one_more, sees_one), Under::histories, 2);
    look(carried("counter.published.taken", publish, takes_one), Under::histories, 2);
    look(carried("counter.published.seen", publish, sees_one), Under::histories, 2);
    look(carried(
             "value.narrow", [](Carrier& r) { r.value.store(1); },
             [](Carrier& r) { return r.value.load() == 1; }),
         Under::histories, 2);
    look(carried(
             "value.narrow.update", [](Carrier& r) { r.value.fetch_add(1); },
             [](Carrier& r) { return r.value.fetch_add(1) == 1; }),
         Under::histories, 2);
}

namespace {

struct Sums {
    lagoon::Array<std::uint64_t> added{"added", 1}, subtracted{"subtracted", 1};
    lagoon::Array<std::uint64_t> updated{"updated", 1}, exchanged{"exchanged", 1};
    lagoon::Array<double> real{"real", 1};
    lagoon::Counter counted{"counted"}, published{"published"}, compared{"compared"};
    lagoon::Counter taken{"taken"};
    lagoon::Value<std::uint64_t> value{"value"};
};

/// Each operation once; what was exchanged out is counted.
void change_all(Sums& root, std::uint64_t mine) {
    root.added[0].add(1);
    root.subtracted[0].sub(1);
    root.updated[0].update([](std::uint64_t before) { return before + 1; });
    root.added[0].add(root.exchanged[0].exchange(mine) * 10);
    root.real[0].add(1);
    root.value.fetch_add(1);
    root.counted.add(2);
    root.counted.sub(1);
    root.counted.add(root.taken.exchange(static_cast<std::int64_t>(mine)) * 10);
    root.published.publish(1);
    std::int64_t found = root.compared.load();
    while (!root.compared.compare_exchange(found, found + 1)) {
    }
}

}  // namespace

TEST_CASE("model: no change of an element or a counter is lost") {
    Scene<Sums> scene{"sums"};
    scene.actor("a", 0, [](Sums& root) { change_all(root, 1); })
        .actor("b", 1, [](Sums& root) { change_all(root, 2); })
        .check([](Sums& root) {
            // Of 1 and 2 one was exchanged out, the other one is left.
            const std::uint64_t exchanged = (root.added[0] - 2) / 10 + root.exchanged[0];
            require(exchanged == 3, "an exchange was lost");
            const auto taken = (root.counted.load() - 2) / 10 + root.taken.load();
            require(taken == 3, "a count was lost");
            require(root.subtracted[0].load() + 2 == 0, "a subtraction was lost");
            require(root.updated[0].load() == 2 && root.real[0].load() == 2, "an update was lost");
            require(root.published.load() == 2, "a count was lost");
            require(root.value.load() == 2, "an update of a value was lost");
            require(root.compared.load() == 2, "a comparison was lost");
        });
    look(scene.program(), Under::coherent, 2);
}

TEST_CASE("model: a reaper does not undo the claim of a lane's new owner on a value") {
    auto scene = wide("value.lane.reused", {.lanes = 2});
    scene
        .actor(
            "a", 0,
            [](WideRoot& root) {
                root.value.update([](const Wide& v) {
                    if (this_process() == 0) die();
                    return v;
                });
            },
            with_lane<WideRoot>)
        .actor(
            "b", 1,
            [](WideRoot& root) {
                await([] { return is_buried(0); });
                repair(root);
            },
            with_lane<WideRoot>)
        .actor("c", 2, [](WideRoot& root) {
            await([] { return is_buried(0); });
            repair(root);
            increment(root);
            increment(root);
        });
    scene.check([](WideRoot& root) { require(root.value.load().a == 2, "a claim was undone"); });
    look_deeply(scene.program(), 2);
}

TEST_CASE("model: a writer does not take an older look at a lane for nobody's") {
    auto scene = wide("value.lane.new");
    // It has no lane before it comes.
    scene.actor("a", 0, increment).actor("b", 1, increment, with_lane<WideRoot>);
    scene.check([](WideRoot& root) { require(root.value.load().a == 2, "a claim was undone"); });
    look_everywhere(scene.program(), 2);
}

TEST_CASE("model: a wide value in nobody's name is claimed by one") {
    auto scene = wide("value.nobodys", {.lanes = 4});
    scene.arranged([](WideRoot& root) {
        // Written by something else: claimed by the last lane, which nobody has.
        auto& core = reinterpret_cast<detail::ValueCore&>(root.value);
        const std::uint32_t nobodys = detail::attachment_of(&root)->header->max_lanes - 1;
        core.selector.store(detail::selector::claimed(0, nobodys), std::memory_order_relaxed);
    });
    scene.actor("a", 0, increment, with_lane<WideRoot>)
        .actor("b", 1, increment, with_lane<WideRoot>)
        .actor("c", 2, look_at, with_lane<WideRoot>);
    scene.check([](WideRoot& root) { require(root.value.load().a == 2, "an update was lost"); });
    look_everywhere(scene.program(), 2);
}
