// machine.cpp: the arena, its processes and their threads.
#include "machine.hpp"

#include <algorithm>
#include <array>
#include <cstring>

#include <lagoon/error.hpp>

#include "runtime/construction.hpp"
#include "runtime/keeper.hpp"
#include "runtime/lanes.hpp"
#include "runtime/members.hpp"
#include "runtime/process_state.hpp"
#include "runtime/reap.hpp"
#include "threads.hpp"

namespace model {

namespace {

using namespace lagoon::detail;

constexpr std::size_t arena_room = std::size_t{128} << 10;
alignas(page_bytes) std::byte arena[arena_room];
constexpr std::uint32_t directory_room = 16;

std::array<Attachment*, most_processes> attachments{};
std::array<ThreadLocals, most_actors + 1> threads{};  // the last one is the inspector's
int thread_now = most_actors;

struct Started {
    void* (*code)(void*) = nullptr;
    void* argument = nullptr;
};
/// Of each process: one at a time.
struct ThreadsToBe {
    int offered = 0;
    Started started;
};
std::array<ThreadsToBe, most_processes> threads_to_be{};

int place_of(int actor) { return actor < 0 ? most_actors : actor; }

void broken_contract(const char* message) noexcept {
    fail(std::string{"broken contract: "} + message);
}

}  // namespace

Machine*& machine() {
    static Machine* current = nullptr;
    return current;
}

Machine::Machine(RootType type, MachineOptions options, int processes)
    : options_{std::move(options)}, processes_{processes} {
    lagoon::set_contract_handler(&broken_contract);
    build(type);
}

void Machine::build(const RootType& type) {
    unshare();
    std::memset(arena, 0, sizeof arena);
    auto& header = *reinterpret_cast<ArenaHeader*>(arena);
    header.max_members = static_cast<std::uint32_t>(processes_) + 1;
    header.max_lanes = header.max_members + options_.lanes;
    header.flags = options_.light_store ? flag_light_store : 0;
    if (options_.light_store && options_.biased) header.flags |= flag_biased;
    header.members_offset = page_bytes;
    header.lanes_offset = header.members_offset + header.max_members * sizeof(MemberEntry);
    header.directory_offset = header.lanes_offset + options_.lanes * sizeof(LaneEntry);
    header.root_offset = round_up(header.directory_offset + directory_room * sizeof(DirectoryEntry),
                                  cache_line_bytes);
    header.root_bytes = type.bytes;
    header.storage_offset = round_up(header.root_offset + type.bytes, cache_line_bytes);
    Construction construction{type,
                              header.max_lanes,
                              arena,
                              header.root_offset,
                              header.storage_offset,
                              arena_room - header.storage_offset};
    construction.run("the model");
    const auto& directory = construction.directory();
    if (directory.size() > directory_room) throw std::length_error{"too many members"};
    std::copy(directory.begin(), directory.end(),
              reinterpret_cast<DirectoryEntry*>(arena + header.directory_offset));
    header.directory_count = static_cast<std::uint32_t>(directory.size());
    bytes_ = round_up(header.storage_offset + construction.storage_bytes(), page_bytes);
    header.arena_bytes = bytes_;
    share(arena, bytes_);
    image_.assign(arena, arena + bytes_);
}

void Machine::arrange(const std::function<void()>& code) {
    // As the inspector, whose lane and membership do not stay.
    kernel_forget();
    begin_execution();
    as(-1, inspector, code);
    auto& header = *reinterpret_cast<ArenaHeader*>(arena);
    std::memset(arena + header.members_offset, 0, header.max_members * sizeof(MemberEntry));
    std::memset(arena + header.lanes_offset, 0, options_.lanes * sizeof(LaneEntry));
    image_.assign(arena, arena + bytes_);
}

void Machine::begin_execution() {
    std::copy(image_.begin(), image_.end(), arena);
    forget_threads();
    threads_to_be.fill({});
    threads.fill(new_thread());
    thread_now = most_actors;
    become_thread(threads[most_actors]);
    for (int p = 0; p < most_processes; ++p) {
        // The one before is of an execution whose memory is taken back as a whole.
        attachments[p] = new Attachment;
        attachments[p]->header = reinterpret_cast<ArenaHeader*>(arena);
        attachments[p]->shared_lane.base = reinterpret_cast<std::uintptr_t>(arena);
        attachments[p]->shared_lane.shared = true;
        attachments[p]->shared_lane.attachment = attachments[p];
        attachments[p]->shared_lane.set_size(bytes_);
        attachments[p]->light_store = reached(p);
        attachments[p]->keeps = reached(p) && options_.biased;
    }
    join_all();
}

void Machine::join_all() {
    for (int p = 0; p < processes_; ++p) as(-1, p, [] { join(); });
    as(-1, inspector, [] { join(); });
}

void Machine::as(int actor, int process, const std::function<void()>& code) {
    const int before = process_outside_;
    process_outside_ = process;
    enter(actor);
    code();
    enter(-1);
    process_outside_ = before;
}

void Machine::enter(int actor) {
    threads[thread_now] = current_thread();
    thread_now = place_of(actor);
    become_thread(threads[thread_now]);
}

void Machine::killed(int process) {
    const Attachment& dead = *attachments[process];
    if (dead.member_state.load(std::memory_order_relaxed) == 0) return;
    MemberEntry& entry = dead.member_entry(dead.member);
    kernel_mark(entry.death_word.address(), static_cast<std::uint32_t>(process) + 1);
}

bool Machine::reached(int process) const {
    return options_.light_store &&
           std::count(options_.unregistered.begin(), options_.unregistered.end(), process) == 0;
}

std::byte* Machine::root() const {
    return arena + reinterpret_cast<const ArenaHeader*>(arena)->root_offset;
}

Attachment& Machine::attachment(int process) const { return *attachments[process]; }

int Machine::process_now() const { return this_actor() >= 0 ? this_process() : process_outside_; }

void join() {
    Attachment& mine = machine()->attachment(machine()->process_now());
    claim_member(mine);
    mine.shared_lane.lane = mine.shared_lane.member = mine.member;
    MemberEntry& entry = mine.member_entry(mine.member);
    entry.death_word.store(static_cast<std::uint32_t>(machine()->process_now() + 1) | 0x80000000,
                           std::memory_order_release);
    entry.flags |= member_has_keeper;
    wake(mine.header->event, everybody);
}

void leave() {
    Attachment& mine = machine()->attachment(machine()->process_now());
    repair_own(mine);
    free_lanes(mine);
    mine.member_entry(mine.member).death_word.store(0, std::memory_order_release);
    release_member(mine);
    forget_lanes(mine);
}

void end_thread() { finish_thread(); }

void offer_thread() { ++threads_to_be[machine()->process_now()].offered; }

bool start_thread(void* (*code)(void*), void* argument) {
    ThreadsToBe& mine = threads_to_be[machine()->process_now()];
    const ProcessLock lock;  // what its caller has done is seen by the thread
    if (mine.offered == 0 || mine.started.code != nullptr) return false;
    --mine.offered;
    mine.started = {code, argument};
    return true;
}

void be_started(int by) {
    ThreadsToBe& mine = threads_to_be[machine()->process_now()];
    await([&] { return mine.started.code != nullptr || is_finished(by); });
    if (mine.started.code == nullptr) return;
    Started started;
    {
        const ProcessLock lock;
        started = std::exchange(mine.started, {});
    }
    started.code(started.argument);
    end_thread();
}

}  // namespace model

// What the runtime's sources ask of those that are not here.
namespace lagoon::inline v1::detail {

namespace {
Attachment& own() { return model::machine()->attachment(model::machine()->process_now()); }
}  // namespace

Attachment* attachment_of(const void* object) noexcept {
    Attachment& mine = own();
    const auto offset =
        reinterpret_cast<std::uintptr_t>(object) - reinterpret_cast<std::uintptr_t>(mine.header);
    return offset < mine.header->arena_bytes ? &mine : nullptr;
}

void ensure_member(Attachment*) {}

int sound_fd(Attachment&) noexcept { return model::machine()->process_now() + 16; }

std::uint32_t pid_of_lane(const Attachment&, std::uint32_t) noexcept { return 0; }

bool fence_is_asymmetric() noexcept {
    return model::machine()->reached(model::machine()->process_now());
}

ProcessLock::ProcessLock() noexcept { model::mutex_lock(model::machine()->process_now()); }
ProcessLock::~ProcessLock() { model::mutex_unlock(model::machine()->process_now()); }

void throw_out_of_range(const void*, std::uint64_t, std::uint64_t) {
    model::fail("an index is out of range");
}

namespace {
const Atomic<std::uint64_t> only_epoch{1};  // nobody forks here
}  // namespace
const Atomic<std::uint64_t>* epoch_of_process = &only_epoch;

std::uint64_t process_epoch() noexcept { return 1; }

void* wiped_allocate(std::size_t bytes) {
    void* memory = ::operator new(bytes);
    std::memset(memory, 0, bytes);
    return memory;
}
void wiped_free(void*, std::size_t) noexcept {}

}  // namespace lagoon::inline v1::detail

namespace lagoon::inline v1 {

Reaped& Reaped::operator+=(const Reaped& other) noexcept {
    processes += other.processes;
    leases += other.leases;
    builds += other.builds;
    locks += other.locks;
    hooks_run += other.hooks_run;
    dirty_left += other.dirty_left;
    return *this;
}

}  // namespace lagoon::inline v1
