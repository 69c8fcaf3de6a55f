// search.cpp: from one execution's choices to the next one's, and what is reported.
#include <cstdio>
#include <cstdlib>
#include <sstream>

#include "heap.hpp"
#include "world.hpp"

namespace model {

void StateSet::clear() {
    table_.assign(std::size_t{1} << 16, 0);
    used_ = 0;
}

bool StateSet::insert(std::uint64_t hash) {
    if (hash == 0) hash = 1;
    if (used_ * 2 > table_.size()) {
        if (table_.size() == most) return true;
        std::vector<std::uint64_t> old(table_.size() * 2, 0);
        old.swap(table_);
        used_ = 0;
        for (const std::uint64_t one : old) {
            if (one != 0) insert(one);
        }
    }
    std::size_t at = hash & (table_.size() - 1);
    for (; table_[at] != 0; at = (at + 1) & (table_.size() - 1)) {
        if (table_[at] == hash) return false;
    }
    table_[at] = hash;
    ++used_;
    return true;
}

std::uint32_t Choices::take(std::uint32_t count, std::uint32_t proposal) {
    if (count <= 1) return 0;
    if (at_ == path_.size()) path_.push_back({proposal, count});
    Choice& choice = path_[at_++];
    if (choice.count == 0) choice.count = count;  // from a schedule's text
    if (choice.count != count) fail("the program is not the same each time");
    return choice.taken;
}

bool Choices::next() {
    at_ = 0;
    while (!path_.empty()) {
        if (++path_.back().taken < path_.back().count) return true;
        path_.pop_back();
    }
    return false;
}

void Choices::clear() noexcept {
    path_.clear();
    at_ = 0;
}

/// The choices that were not the first possible: place:taken.
std::string Choices::text() const {
    std::string text;
    for (std::size_t i = 0; i < at_; ++i) {
        if (path_[i].taken == 0) continue;
        if (!text.empty()) text += ',';
        text += std::to_string(i) + ':' + std::to_string(path_[i].taken);
    }
    return text.empty() ? "-" : text;
}

void Choices::set(const std::string& text) {
    path_.clear();
    at_ = 0;
    std::istringstream parts{text == "-" ? "" : text};
    for (std::string part; std::getline(parts, part, ',');) {
        const std::size_t place = std::stoul(part);
        const std::size_t colon = part.find(':');
        path_.resize(place, {0, 0});
        path_.push_back({static_cast<std::uint32_t>(std::stoul(part.substr(colon + 1))), 0});
    }
}

void World::run_execution() {
    ++figures_.executions;
    try {
        begin_execution();
        switch_to(pick());
        heap::belongs_to(heap::Of::engine);
        if (end_ == End::too_long) fail("no end after " + std::to_string(steps_) + " steps");
        if (kills_left_ < bounds_.kills) ++figures_.kills;
        if (end_ == End::complete && program_->check) {
            for (int a = 0; a < count_; ++a) memory.flush_all(a);
            heap::belongs_to(heap::Of::execution);
            program_->check();
        }
    } catch (const std::string& why) {
        end_ = End::failed;
    }
    heap::belongs_to(heap::Of::engine);
    current_ = -1;
}

Report World::report(bool exhausted) const {
    Report result = figures_;
    result.failed = !failure_.empty();
    result.failure = failure_;
    result.exhausted = exhausted && !result.failed;
    result.states = seen_.size();
    if (result.failed) result.schedule = (free_ ? "~" : "") + choices_.text();
    return result;
}

Report World::explore(const Program& program, const Bounds& bounds, Search search,
                      std::uint64_t seed) {
    program_ = &program;
    bounds_ = bounds;
    search_ = search;
    free_ = search != Search::exhaustive;
    choices_.clear();
    random_.seed(static_cast<std::uint_fast32_t>(seed));
    seen_.clear();
    figures_ = {};
    failure_.clear();
    for (;;) {
        choices_.rewind();
        run_execution();
        if (!failure_.empty()) return report(false);
        if (search == Search::exhaustive ? !choices_.next() : false) return report(true);
        if (search != Search::exhaustive) choices_.clear();
        if (figures_.executions >= bounds.executions) return report(false);
    }
}

Report World::replay(const Program& program, const Bounds& bounds, const std::string& schedule) {
    program_ = &program;
    bounds_ = bounds;
    search_ = Search::exhaustive;
    figures_ = {};
    failure_.clear();
    free_ = schedule.starts_with('~');
    choices_.set(free_ ? schedule.substr(1) : schedule);
    traced_ = true;
    run_execution();
    traced_ = false;
    return report(false);
}

Report explore(const Program& program, const Bounds& bounds, Search search, std::uint64_t seed) {
    return world().explore(program, bounds, search, seed);
}

Report replay(const Program& program, const Bounds& bounds, const std::string& schedule) {
    return world().replay(program, bounds, schedule);
}

Report run(const Program& program, const Bounds& bounds, Search search) {
    if (const char* wanted = std::getenv("LAGOON_MODEL_REPLAY")) {
        const std::string text = wanted;
        const std::size_t at = text.rfind('@');
        if (text.substr(0, at) == program.name) {
            return replay(program, bounds, text.substr(at + 1));
        }
    }
    const Report report = explore(program, bounds, search);
    std::printf("%-44s %9llu executions %11llu steps %9llu states %s\n", program.name.c_str(),
                static_cast<unsigned long long>(report.executions),
                static_cast<unsigned long long>(report.steps),
                static_cast<unsigned long long>(report.states),
                report.failed      ? "FAILED"
                : report.exhausted ? "exhausted"
                                   : "cut");
    std::fflush(stdout);
    if (report.failed) {
        std::printf("%s: %s\nLAGOON_MODEL_REPLAY='%s@%s'\n", program.name.c_str(),
                    report.failure.c_str(), program.name.c_str(), report.schedule.c_str());
        std::fflush(stdout);
        if (std::getenv("LAGOON_MODEL_QUIET") == nullptr) {
            replay(program, bounds, report.schedule);
        }
    }
    return report;
}

}  // namespace model
