// words.cpp: the words of a living arena, any of which may hold any value, and every operation on
// it in between.
//
// The arena is made once, with a member that was killed in the middle of everything; each input
// starts from a copy of all its bytes. What is written at creation and never again (the header's
// static part, the directory, where storage lies, the first line of a pool) stays as it is: that is
// checked when an arena is opened, and trusted from then on.
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <csignal>
#include <cstring>

#include "harness.hpp"
#include "operations.hpp"
#include "runtime/attachment.hpp"
#include "runtime/hints.hpp"
#include "runtime/pool_life.hpp"
#include "runtime/pool_times.hpp"

#if defined(__has_feature)
#if __has_feature(address_sanitizer)
#include <sanitizer/asan_interface.h>
#define FUZZ_POISON(at, bytes) __asan_poison_memory_region(at, bytes)
#endif
#endif
#ifndef FUZZ_POISON
#define FUZZ_POISON(at, bytes) static_cast<void>(0)
#endif

namespace fuzz {

const char* const subject = "words";

namespace {

using namespace lagoon::detail;

constexpr int most_steps = 48;

struct Words {
    std::byte* at;
    std::uint64_t bytes;
};

/// Everything about the one arena; made by set_up and never destroyed.
struct Stage {
    lagoon::Arena<Desk> arena;
    Attachment* attachment = nullptr;
    std::vector<std::byte> sound;
    std::vector<Words> words;
    std::vector<PoolBody*> pools;
};
Stage& stage() {
    static auto& only = *new Stage;
    return only;
}

/// A member that dies with everything in its hands.
void leave_a_dead_member(const std::string& name) {
    const pid_t child = ::fork();
    if (child == 0) {
        auto same = lagoon::Arena<Desk>::open(name, lagoon::OpenOptions{.keeper = false});
        auto few = same->few.try_acquire();
        auto some = same->some.try_acquire();
        (void)same->strict.try_lock();
        (void)same->wide.update([](const Wide&) -> Wide { ::_exit(0); });
    }
    int status = 0;
    ::waitpid(child, &status, 0);
}

void collect_pool(Stage& stage, PoolObject& pool) {
    auto* object = reinterpret_cast<std::byte*>(&pool);
    auto* at = object + pool.body.from_object;
    PoolBody& body = *reinterpret_cast<PoolBody*>(at);
    stage.pools.push_back(&body);
    stage.words.push_back(
        {object + pool.claims.from_object, pool.claims.extent * sizeof(LaneClaims)});
    if (pool.queue.extent != 0) {
        stage.words.push_back(
            {object + pool.queue.from_object, pool.queue.extent * sizeof(QueueEntry)});
    }
    stage.words.push_back(
        {at + offsetof(PoolBody, demand), sizeof body - offsetof(PoolBody, demand)});
    const std::uint64_t hints = 3 * body.hint_words * sizeof(std::uint64_t);
    stage.words.push_back({at + body.hints_at, hints});
    stage.words.push_back({at + body.slots_at, body.capacity * body.stride});
    if (has_life(body)) {
        stage.words.push_back({at + body.life.records_at, body.capacity * sizeof(LifeRecord)});
    }
    if (is_measured(body)) {
        stage.words.push_back({at + body.creation.times_at, times_bytes(body.capacity)});
    }
    // Nobody has any business between the hints and the slots.
    FUZZ_POISON(at + body.hints_at + hints, body.slots_at - body.hints_at - hints);
}

void collect_words(Stage& stage) {
    Attachment& attachment = *stage.attachment;
    ArenaHeader& header = *attachment.header;
    const auto add = [&](void* at, std::uint64_t bytes) {
        stage.words.push_back({static_cast<std::byte*>(at), bytes});
    };
    add(&header.state, 32);
    add(attachment.at(header.members_offset), header.max_members * sizeof(MemberEntry));
    add(attachment.at(header.lanes_offset),
        (header.max_lanes - header.max_members) * sizeof(LaneEntry));
    for (const Kind kind : {Kind::counter, Kind::value, Kind::lock}) {
        attachment.for_each(kind, [&](const DirectoryEntry& entry, std::byte* object) {
            add(object, entry.object_bytes);
        });
    }
    for (const Kind kind : {Kind::sharded_counter, Kind::array}) {
        attachment.for_each(kind, [&](const DirectoryEntry& entry, std::byte*) {
            if (std::string_view{entry.name.data()} == "bait") return;
            add(attachment.at(entry.storage_offset), entry.storage_bytes);
        });
    }
    attachment.for_each(Kind::pool, [&](const DirectoryEntry&, std::byte* object) {
        collect_pool(stage, *reinterpret_cast<PoolObject*>(object));
    });
}

/// A lane that a word may name: ours, the process's, the dead one's, nobody's, none.
std::uint32_t some_lane(const Stage& stage, Input& input) {
    const auto& header = *stage.attachment->header;
    const std::array<std::uint32_t, 8> lanes{lane_of(stage.attachment->header).lane,
                                             stage.attachment->member,
                                             1,
                                             header.max_members + 1,
                                             header.max_lanes - 1,
                                             header.max_lanes,
                                             1022,
                                             1023};
    return lanes[input.below(lanes.size())];
}

/// A slot's word as some state of some owner has it.
std::uint64_t some_truth(const Stage& stage, Input& input, std::uint64_t before) {
    const std::uint64_t state = input.below(16);
    const std::uint64_t bits = std::uint64_t{input.take()} << 14;
    const std::uint64_t lane = some_lane(stage, input);
    return (before & word::generation_mask) | (bits & ~std::uint64_t{0x3fff}) |
           lane << word::owner_shift | state;
}

void damage(const Stage& stage, Input& input) {
    const Words& part = stage.words[input.below(stage.words.size())];
    std::byte* at = part.at + 8 * input.below(part.bytes / 8);
    std::uint64_t word = 0;
    std::memcpy(&word, at, sizeof word);
    word = input.word(word);
    std::memcpy(at, &word, sizeof word);
}

void damage_slot(const Stage& stage, Input& input) {
    PoolBody& body = *stage.pools[input.below(stage.pools.size())];
    auto* at = reinterpret_cast<std::byte*>(&body) + body.slots_at +
               body.stride * input.below(std::min<std::uint64_t>(body.capacity, 250));
    std::uint64_t word = 0;
    std::memcpy(&word, at, sizeof word);
    word = some_truth(stage, input, word);
    std::memcpy(at, &word, sizeof word);
}

/// A word of a pool's trees, of any level: bits past the last slot or word, or all, or one.
void damage_hints(const Stage& stage, Input& input) {
    PoolBody& body = *stage.pools[input.below(stage.pools.size())];
    const std::uint64_t tree = input.below(3);
    // The upper levels are few words behind many leaves: half of the choices are among them.
    const std::uint64_t from_end = input.below(2) == 0 ? 1 + input.below(4) : 0;
    const std::uint64_t in_tree = from_end != 0
                                      ? body.hint_words - std::min(from_end, body.hint_words)
                                      : input.below(body.hint_words);
    auto* at = reinterpret_cast<std::byte*>(&body) + body.hints_at +
               8 * (tree * body.hint_words + in_tree);
    std::uint64_t word = 0;
    std::memcpy(&word, at, sizeof word);
    switch (input.below(4)) {
        case 0: word = ~std::uint64_t{0}; break;
        case 1: word = std::uint64_t{1} << input.below(64); break;
        case 2: word |= std::uint64_t{1} << 63 >> input.below(8); break;
        default: word = input.word(word);
    }
    std::memcpy(at, &word, sizeof word);
}

/// The tree's words as they are now, where an access past their end faults: in the arena something
/// else lies there, so that a search that leaves its tree would not be seen to.
void walk_tree(const Stage& stage, Input& input) {
    static std::byte* const end = [] {
        constexpr std::size_t size = 16 * page_bytes;
        void* pages =
            ::mmap(nullptr, 2 * size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        if (pages == MAP_FAILED) std::abort();
        auto* middle = static_cast<std::byte*>(pages) + size;
        if (::mprotect(middle, size, PROT_NONE) != 0) std::abort();
        return middle;
    }();
    PoolBody& body = *stage.pools[input.below(stage.pools.size())];
    const std::uint64_t bytes = body.hint_words * sizeof(std::uint64_t);
    const auto* words = reinterpret_cast<const std::byte*>(&body) + body.hints_at;
    std::memcpy(end - bytes, words + input.below(3) * bytes, bytes);
    HintTree tree{reinterpret_cast<Atomic<std::uint64_t>*>(end - bytes), body.capacity};
    const std::uint64_t leaves = (body.capacity + 63) / 64;
    std::uint64_t found = 0;
    for (std::uint64_t leaf = tree.next_leaf(input.below(leaves)); leaf != no_index;
         leaf = tree.next_leaf(leaf + 1)) {
        if (leaf >= leaves || ++found > leaves) std::abort();
        tree.clear(leaf, input.word(0));
    }
    const std::uint64_t index = input.below(body.capacity);
    tree.set(index);
    if (!tree.test(index)) std::abort();
    tree.restore(index);
    if (tree.next_leaf(index / 64) != index / 64) std::abort();
    if (tree.next_leaf_surely(index / 64) != index / 64) std::abort();
}

/// A wide value claimed, a lock locked, or a pool gathered for, in the name of some lane.
void damage_owner(const Stage& stage, Input& input) {
    Desk& desk = *stage.arena;
    const std::uint64_t lane = some_lane(stage, input);
    const auto put = [&](void* at, std::uint64_t word) { std::memcpy(at, &word, sizeof word); };
    switch (input.below(4)) {
        case 0: put(&desk.wide, lane << 2 | 2 | std::uint64_t{input.take()} << 12); break;
        case 1: put(&desk.odd, lane << 2 | 2); break;
        case 2: put(&desk.lock, lane | std::uint64_t{input.take()} << 10); break;
        default: put(&stage.pools[0]->bulk, input.take<std::uint32_t>() << 10 | (lane + 1));
    }
}

void restore(const Stage& stage) {
    for (const Words& part : stage.words) {
        const auto offset = static_cast<std::uint64_t>(part.at - stage.attachment->at(0));
        std::memcpy(part.at, &stage.sound[offset], part.bytes);
    }
}

}  // namespace

void set_up() {
    const std::string name = "fuzz-words-" + std::to_string(::getpid());
    Stage& stage = fuzz::stage();
    stage.arena = make_desk(name);
    stage.attachment = attachment_of(&*stage.arena);
    give_hooks(stage.arena);
    leave_a_dead_member(name);
    (void)lane_of(&*stage.arena);
    const auto* begin = stage.attachment->at(0);
    stage.sound.assign(begin, begin + stage.arena.bytes());
    collect_words(stage);
    static const Guards guards{stage.attachment->at(0), stage.arena.bytes()};
    lagoon::remove(std::string_view{name});
}

bool run(const std::uint8_t* bytes, std::size_t size) {
    const Stage& stage = fuzz::stage();
    Input input{bytes, size};
    int waits = 3;
    bool operated = false;
    // One script in eight meets the dead member as it was left.
    if (input.below(8) != 7) (void)stage.arena.reap();
    Held held;
    begin_script();
    for (int i = 0; i < most_steps && !input.empty(); ++i) {
        switch (input.below(8)) {
            case 0: damage(stage, input); break;
            case 1: damage_hints(stage, input); break;
            case 2: damage_slot(stage, input); break;
            case 3: damage_owner(stage, input); break;
            case 4: walk_tree(stage, input); break;
            default: operate(stage.arena, held, input, &waits); operated = true;
        }
    }
    end_script(held);
    for (const std::uint64_t word : stage.arena->bait.span()) {
        if (word != bait_word) std::abort();  // taken for a slot
    }
    restore(stage);
    return operated;
}

std::vector<Bytes> seeds() {
    std::vector<Bytes> all;
    for (std::uint8_t damaged = 0; damaged < 5; ++damaged) {
        for (std::uint8_t operation = 0; operation < 16; ++operation) {
            Bytes script{static_cast<std::uint8_t>(operation)};
            for (std::uint8_t n = 0; n < 6; ++n) {
                const std::uint8_t step[] = {damaged, static_cast<std::uint8_t>(n * 7 + operation),
                                             n,       2,
                                             n,       5,
                                             0,       operation,
                                             n,       static_cast<std::uint8_t>(n + 1)};
                script.insert(script.end(), std::begin(step), std::end(step));
            }
            all.push_back(std::move(script));
        }
    }
    return all;
}

}  // namespace fuzz
