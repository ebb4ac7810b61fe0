"""The promises of ``Recognizer`` as tests: subclass, give a recognizer and pictures, run pytest.

::

    class TestMine(RecognizerContract):
        @pytest.fixture
        def recognizer(self): ...       # a fresh one, without galleries

        @pytest.fixture
        def material(self): ...         # rekadapter.testing.material

A backend that keeps users passes ``UserContract`` too, with the same fixtures.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest

from rekadapter.errors import (
    BackendClosedError,
    FaceNotFoundError,
    GalleryExistsError,
    GalleryNotFoundError,
    QuotaExceededError,
    ScaleMismatchError,
    SubjectIdError,
    UserExistsError,
    UserNotFoundError,
)
from rekadapter.imaging import Image
from rekadapter.recognizer import (
    MAX_FACES_PER_USER,
    FaceSelection,
    QualityFilter,
    Recognizer,
    UserGallery,
    analysis_of,
    user_gallery_of,
)
from rekadapter.testing.material import ContractMaterial
from rekadapter.types import (
    ComparisonScore,
    FaceAttribute,
    FaceId,
    GalleryId,
    Reason,
    ScoreScale,
    SubjectId,
    User,
    UserId,
    UserReason,
    UserStatus,
)

GALLERY = GalleryId("contract-gallery")
ANN = SubjectId("ann")
BOB = SubjectId("bob")
NEVER_ISSUED = FaceId("00000000-0000-4000-8000-000000000000")
SUBJECT_IDS = ["ann", "Zoë Šťastná", "a:b", "rk:61", "O'Neil & sons, 2nd floor", "李小龍", "-"]


class RecognizerContract:
    """Every backend passes all of it."""

    @pytest.fixture
    def gallery(self, recognizer: Recognizer) -> GalleryId:
        recognizer.create_gallery(GALLERY)
        return GALLERY

    @pytest.fixture
    def enrolled(
        self, recognizer: Recognizer, gallery: GalleryId, material: ContractMaterial
    ) -> GalleryId:
        recognizer.enroll(gallery, material.ann, subject=ANN, max_faces=1)
        recognizer.enroll(gallery, material.bob, subject=BOB, max_faces=1)
        return gallery

    # -- galleries

    def test_a_gallery_lives_from_create_to_delete(self, recognizer: Recognizer) -> None:
        made = recognizer.create_gallery(GALLERY)
        assert (made.gallery, made.face_count) == (GALLERY, 0)
        assert GALLERY in list(recognizer.galleries())
        recognizer.delete_gallery(GALLERY)
        assert GALLERY not in list(recognizer.galleries())

    def test_creating_a_gallery_twice_raises(
        self, recognizer: Recognizer, gallery: GalleryId
    ) -> None:
        with pytest.raises(GalleryExistsError, match=gallery):
            recognizer.create_gallery(gallery)

    def test_a_gallery_name_with_a_space_is_refused(self, recognizer: Recognizer) -> None:
        with pytest.raises(SubjectIdError):
            recognizer.create_gallery(GalleryId("two words"))

    def test_galleries_are_listed_sorted(self, recognizer: Recognizer) -> None:
        for name in ("b", "c", "a"):
            recognizer.create_gallery(GalleryId(name))
        assert list(recognizer.galleries()) == ["a", "b", "c"]

    @pytest.mark.parametrize(
        "call", ["describe", "delete", "enroll", "faces", "remove", "identify", "search"]
    )
    def test_an_unknown_gallery_raises_and_is_named(
        self, recognizer: Recognizer, material: ContractMaterial, call: str
    ) -> None:
        nowhere = GalleryId("nowhere")
        match_all = recognizer.capabilities.match_all
        calls: dict[str, Callable[[], object]] = {
            "describe": lambda: recognizer.describe_gallery(nowhere),
            "delete": lambda: recognizer.delete_gallery(nowhere),
            "enroll": lambda: recognizer.enroll(nowhere, material.ann, subject=ANN),
            "faces": lambda: list(recognizer.faces(nowhere)),
            "remove": lambda: recognizer.remove(nowhere, [NEVER_ISSUED]),
            "identify": lambda: recognizer.identify(nowhere, material.ann, threshold=match_all),
            "search": lambda: recognizer.search(nowhere, NEVER_ISSUED, threshold=match_all),
        }
        with pytest.raises(GalleryNotFoundError, match="nowhere"):
            calls[call]()

    # -- enrolling

    def test_an_enrolled_face_is_listed_and_counted(
        self, recognizer: Recognizer, gallery: GalleryId, material: ContractMaterial
    ) -> None:
        enrollment = recognizer.enroll(gallery, material.ann, subject=ANN, max_faces=1)
        assert [record.enrolled.subject for record in enrollment.records] == [ANN]
        assert list(recognizer.faces(gallery)) == [enrollment.records[0].enrolled]
        assert recognizer.describe_gallery(gallery).face_count == 1

    def test_a_picture_of_nobody_enrolls_nothing_and_says_why(
        self, recognizer: Recognizer, gallery: GalleryId, material: ContractMaterial
    ) -> None:
        enrollment = recognizer.enroll(gallery, material.nobody, subject=ANN)
        assert enrollment.records == ()
        assert [failure.reasons for failure in enrollment.failures] == [(Reason.NO_FACE,)]
        assert list(recognizer.faces(gallery)) == []

    def test_all_faces_or_one(
        self, recognizer: Recognizer, gallery: GalleryId, material: ContractMaterial
    ) -> None:
        one = recognizer.enroll(
            gallery, material.group, subject=ANN, max_faces=1, quality=QualityFilter.NONE
        )
        assert len(one.records) == 1
        assert any(Reason.EXCEEDS_MAX_FACES in failure.reasons for failure in one.failures)
        every = recognizer.enroll(gallery, material.group, subject=BOB, quality=QualityFilter.NONE)
        assert len(every.records) >= 2
        areas = [record.detected.box.area for record in every.records]
        assert areas == sorted(areas, reverse=True)

    def test_the_same_picture_for_the_same_subject_is_stored_once(
        self, recognizer: Recognizer, gallery: GalleryId, material: ContractMaterial
    ) -> None:
        first = recognizer.enroll(gallery, material.ann, subject=ANN, max_faces=1)
        second = recognizer.enroll(gallery, material.ann, subject=ANN, max_faces=1)
        assert first.records[0].enrolled.face_id == second.records[0].enrolled.face_id
        assert recognizer.describe_gallery(gallery).face_count == 1

    @pytest.mark.parametrize("subject", SUBJECT_IDS)
    def test_any_subject_id_comes_back_as_it_went_in(
        self,
        recognizer: Recognizer,
        gallery: GalleryId,
        material: ContractMaterial,
        subject: str,
    ) -> None:
        recognizer.enroll(gallery, material.ann, subject=SubjectId(subject), max_faces=1)
        assert [face.subject for face in recognizer.faces(gallery)] == [subject]

    def test_a_face_without_a_subject_is_allowed(
        self, recognizer: Recognizer, gallery: GalleryId, material: ContractMaterial
    ) -> None:
        recognizer.enroll(gallery, material.ann, subject=None, max_faces=1)
        assert [face.subject for face in recognizer.faces(gallery)] == [None]

    def test_threads_enrolling_together_lose_nothing(
        self, recognizer: Recognizer, gallery: GalleryId, material: ContractMaterial
    ) -> None:
        subjects = [SubjectId(f"subject-{number}") for number in range(8)]
        with ThreadPoolExecutor(4) as pool:
            list(
                pool.map(
                    lambda who: recognizer.enroll(gallery, material.ann, subject=who, max_faces=1),
                    subjects,
                )
            )
        assert {face.subject for face in recognizer.faces(gallery)} == set(subjects)

    # -- removing

    def test_a_removed_face_never_returns_and_unknown_ids_are_named(
        self, recognizer: Recognizer, enrolled: GalleryId, material: ContractMaterial
    ) -> None:
        ann = next(face for face in recognizer.faces(enrolled) if face.subject == ANN)
        removal = recognizer.remove(enrolled, [ann.face_id, NEVER_ISSUED])
        assert removal.removed == (ann.face_id,)
        assert removal.not_found == (NEVER_ISSUED,)
        answer = recognizer.identify(
            enrolled, material.ann, threshold=recognizer.capabilities.match_all
        )
        found = {candidate.subject for face in answer.faces for candidate in face.candidates}
        assert ANN not in found
        assert recognizer.remove(enrolled, [ann.face_id]).removed == ()

    # -- identifying

    def test_an_enrolled_picture_is_rank_one_for_itself(
        self, recognizer: Recognizer, enrolled: GalleryId, material: ContractMaterial
    ) -> None:
        threshold = recognizer.capabilities.default_threshold
        for image, subject in ((material.ann, ANN), (material.bob, BOB)):
            answer = recognizer.identify(
                enrolled, image, threshold=threshold, faces=FaceSelection.LARGEST
            )
            assert [face.candidates[0].subject for face in answer.faces] == [subject]

    def test_another_picture_of_the_person_is_found(
        self, recognizer: Recognizer, enrolled: GalleryId, material: ContractMaterial
    ) -> None:
        answer = recognizer.identify(
            enrolled,
            material.ann_again,
            threshold=recognizer.capabilities.default_threshold,
            faces=FaceSelection.LARGEST,
        )
        assert answer.faces[0].candidates[0].subject == ANN

    def test_a_stranger_has_no_candidate_at_the_default_threshold(
        self, recognizer: Recognizer, gallery: GalleryId, material: ContractMaterial
    ) -> None:
        recognizer.enroll(gallery, material.bob, subject=BOB, max_faces=1)
        answer = recognizer.identify(
            gallery, material.ann, threshold=recognizer.capabilities.default_threshold
        )
        assert answer.failure is None
        assert [face.candidates for face in answer.faces] == [()] * len(answer.faces)

    def test_candidates_are_best_first_within_limit_and_threshold(
        self, recognizer: Recognizer, enrolled: GalleryId, material: ContractMaterial
    ) -> None:
        recognizer.enroll(enrolled, material.ann_again, subject=ANN, max_faces=1)
        match_all = recognizer.capabilities.match_all
        answer = recognizer.identify(
            enrolled, material.ann, threshold=match_all, limit=2, faces=FaceSelection.LARGEST
        )
        scores = [candidate.score for candidate in answer.faces[0].candidates]
        assert len(scores) == 2
        assert scores[0].meets(scores[1])
        assert all(score.meets(match_all) for score in scores)

    def test_a_threshold_is_inclusive(
        self, recognizer: Recognizer, enrolled: GalleryId, material: ContractMaterial
    ) -> None:
        match_all = recognizer.capabilities.match_all
        best = (
            recognizer.identify(
                enrolled, material.ann, threshold=match_all, faces=FaceSelection.LARGEST
            )
            .faces[0]
            .candidates[0]
        )
        again = recognizer.identify(
            enrolled, material.ann, threshold=best.score, faces=FaceSelection.LARGEST
        )
        assert again.faces[0].candidates[0].face == best.face

    def test_every_face_of_a_group_or_the_largest(
        self, recognizer: Recognizer, enrolled: GalleryId, material: ContractMaterial
    ) -> None:
        threshold = recognizer.capabilities.default_threshold
        every = recognizer.identify(enrolled, material.group, threshold=threshold)
        names = [face.candidates[0].subject for face in every.faces if face.candidates]
        assert sorted(map(str, names)) == [ANN, BOB]
        largest = recognizer.identify(
            enrolled, material.group, threshold=threshold, faces=FaceSelection.LARGEST
        )
        assert [face.candidates[0].subject for face in largest.faces] == [ANN]

    def test_no_face_is_a_value_not_an_exception(
        self, recognizer: Recognizer, enrolled: GalleryId, material: ContractMaterial
    ) -> None:
        for faces in FaceSelection:
            answer = recognizer.identify(
                enrolled,
                material.nobody,
                threshold=recognizer.capabilities.match_all,
                faces=faces,
            )
            assert answer.faces == ()
            assert answer.failure is not None
            assert answer.failure.reason is Reason.NO_FACE

    def test_an_empty_gallery_gives_no_candidate(
        self, recognizer: Recognizer, gallery: GalleryId, material: ContractMaterial
    ) -> None:
        answer = recognizer.identify(
            gallery, material.ann, threshold=recognizer.capabilities.match_all
        )
        assert len(answer.faces) == 1
        assert answer.faces[0].candidates == ()

    def test_a_threshold_of_another_scale_raises(
        self, recognizer: Recognizer, enrolled: GalleryId, material: ContractMaterial
    ) -> None:
        foreign = ComparisonScore(0.5, ScoreScale("somebody else's scale", 0.0, 1.0))
        with pytest.raises(ScaleMismatchError, match="somebody else's scale"):
            recognizer.identify(enrolled, material.ann, threshold=foreign)
        with pytest.raises(ScaleMismatchError):
            recognizer.verify(material.ann, material.bob, threshold=foreign)

    def test_an_enrolled_face_searches_the_others_never_itself(
        self, recognizer: Recognizer, enrolled: GalleryId, material: ContractMaterial
    ) -> None:
        recognizer.enroll(enrolled, material.ann_again, subject=ANN, max_faces=1)
        anns = [face.face_id for face in recognizer.faces(enrolled) if face.subject == ANN]
        answer = recognizer.search(
            enrolled, anns[0], threshold=recognizer.capabilities.default_threshold
        )
        assert [found.face.face_id for found in answer.faces[0].candidates] == anns[1:]

    def test_searching_a_face_that_is_not_there_raises(
        self, recognizer: Recognizer, enrolled: GalleryId
    ) -> None:
        with pytest.raises(FaceNotFoundError):
            recognizer.search(enrolled, NEVER_ISSUED, threshold=recognizer.capabilities.match_all)

    # -- age and gender

    def test_age_and_gender_are_never_given_unasked(
        self, recognizer: Recognizer, gallery: GalleryId, material: ContractMaterial
    ) -> None:
        enrolled = recognizer.enroll(gallery, material.ann, subject=ANN)
        threshold = recognizer.capabilities.match_all
        faces = [
            *recognizer.detect(material.ann).faces,
            *(record.detected for record in enrolled.records),
            *(
                found.face
                for found in recognizer.identify(gallery, material.ann, threshold=threshold).faces
            ),
        ]
        assert len(faces) == 3
        assert {face.estimated_age for face in faces} == {None}
        assert {face.perceived_gender for face in faces} == {None}

    @pytest.mark.parametrize("attribute", FaceAttribute)
    def test_only_what_was_asked_for_is_estimated(
        self,
        recognizer: Recognizer,
        gallery: GalleryId,
        material: ContractMaterial,
        attribute: FaceAttribute,
    ) -> None:
        asked = frozenset({attribute})
        analysis = analysis_of(recognizer, asked)
        made = analysis.enroll(gallery, material.ann, subject=ANN)
        for face in (*analysis.detect(material.ann).faces, made.records[0].detected):
            assert face == face.with_only(asked & recognizer.capabilities.attributes)
        plain = recognizer.detect(material.ann).faces
        found = analysis.detect(material.ann).faces
        assert [face.with_only(frozenset()) for face in found] == list(plain)

    def test_an_enrollment_with_estimates_is_the_same_enrollment(
        self, recognizer: Recognizer, gallery: GalleryId, material: ContractMaterial
    ) -> None:
        analysis = analysis_of(recognizer, frozenset(FaceAttribute))
        described = analysis.enroll(gallery, material.ann, subject=ANN)
        again = recognizer.enroll(gallery, material.ann, subject=ANN)
        assert [record.enrolled for record in described.records] == [
            record.enrolled for record in again.records
        ]
        assert list(recognizer.faces(gallery)) == [described.records[0].enrolled]
        nobody = analysis.enroll(gallery, material.nobody, subject=ANN)
        assert (nobody.records, nobody.failures[0].reasons) == ((), (Reason.NO_FACE,))

    def test_a_closed_recognizer_estimates_nothing(
        self, recognizer: Recognizer, material: ContractMaterial
    ) -> None:
        analysis = analysis_of(recognizer, frozenset(FaceAttribute))
        recognizer.close()
        with pytest.raises(BackendClosedError):
            analysis.detect(material.ann)

    # -- detecting and verifying

    def test_faces_are_detected_largest_first(
        self, recognizer: Recognizer, material: ContractMaterial
    ) -> None:
        areas = [face.box.area for face in recognizer.detect(material.group).faces]
        assert len(areas) >= 2
        assert areas == sorted(areas, reverse=True)
        assert recognizer.detect(material.nobody).faces == ()

    def test_verify_tells_one_person_from_two(
        self, recognizer: Recognizer, material: ContractMaterial
    ) -> None:
        threshold = recognizer.capabilities.default_threshold
        same = recognizer.verify(material.ann, material.ann_again, threshold=threshold)
        other = recognizer.verify(material.ann, material.bob, threshold=threshold)
        assert same.matched
        assert not other.matched
        assert len(other.comparisons) == 1

    def test_verify_looks_at_every_target_face(
        self, recognizer: Recognizer, material: ContractMaterial
    ) -> None:
        found = recognizer.verify(
            material.bob, material.group, threshold=recognizer.capabilities.default_threshold
        )
        assert [comparison.matched for comparison in found.comparisons].count(True) == 1
        assert len(found.comparisons) >= 2

    def test_verify_without_a_face_is_a_value(
        self, recognizer: Recognizer, material: ContractMaterial
    ) -> None:
        for source, target in (
            (material.nobody, material.ann),
            (material.ann, material.nobody),
        ):
            found = recognizer.verify(
                source, target, threshold=recognizer.capabilities.default_threshold
            )
            assert found.failure is not None
            assert found.failure.reason is Reason.NO_FACE
            assert not found.matched

    def test_original_answers_are_json_without_images(
        self, recognizer: Recognizer, enrolled: GalleryId, material: ContractMaterial
    ) -> None:
        answer = recognizer.identify(
            enrolled, material.ann, threshold=recognizer.capabilities.match_all
        )
        for original in answer.original:
            assert isinstance(json.loads(original.json), dict)
            assert "Bytes" not in original.json

    # -- closing

    def test_a_closed_recognizer_refuses_and_may_be_closed_twice(
        self, recognizer: Recognizer, material: ContractMaterial
    ) -> None:
        recognizer.close()
        recognizer.close()
        with pytest.raises(BackendClosedError):
            recognizer.detect(material.ann)
        with pytest.raises(BackendClosedError):
            list(recognizer.galleries())


ANNA = UserId("user:anna")
BEN = UserId("user:ben")


class UserContract:
    """Every backend that keeps users passes all of it."""

    @pytest.fixture
    def gallery(self, recognizer: Recognizer) -> GalleryId:
        recognizer.create_gallery(GALLERY)
        return GALLERY

    @pytest.fixture
    def users(self, recognizer: Recognizer) -> UserGallery:
        found = user_gallery_of(recognizer)
        assert found is not None
        return found

    @pytest.fixture
    def ann(self, recognizer: Recognizer, gallery: GalleryId, material: ContractMaterial) -> FaceId:
        return _enrolled(recognizer, gallery, material.ann, ANN)

    @pytest.fixture
    def bob(self, recognizer: Recognizer, gallery: GalleryId, material: ContractMaterial) -> FaceId:
        return _enrolled(recognizer, gallery, material.bob, BOB)

    @pytest.fixture
    def both(
        self,
        recognizer: Recognizer,
        users: UserGallery,
        gallery: GalleryId,
        ann: FaceId,
        bob: FaceId,
    ) -> GalleryId:
        """Anna and Ben, one face each."""
        match_all = recognizer.capabilities.match_all
        for user, face_id in ((ANNA, ann), (BEN, bob)):
            users.create(gallery, user)
            assert users.associate(gallery, user, [face_id], threshold=match_all).changed == (
                face_id,
            )
        return gallery

    def test_the_capability_says_that_users_are_kept(self, recognizer: Recognizer) -> None:
        assert recognizer.capabilities.keeps_users

    # -- users

    def test_a_user_lives_from_create_to_delete(
        self, recognizer: Recognizer, users: UserGallery, gallery: GalleryId
    ) -> None:
        users.create(gallery, ANNA)
        assert list(users.users(gallery)) == [User(ANNA, UserStatus.CREATED)]
        assert recognizer.describe_gallery(gallery).user_count == 1
        users.delete(gallery, ANNA)
        assert list(users.users(gallery)) == []
        assert recognizer.describe_gallery(gallery).user_count == 0

    def test_a_user_is_made_once(self, users: UserGallery, gallery: GalleryId) -> None:
        users.create(gallery, ANNA)
        with pytest.raises(UserExistsError):
            users.create(gallery, ANNA)

    def test_a_user_id_with_a_space_is_refused(
        self, users: UserGallery, gallery: GalleryId
    ) -> None:
        with pytest.raises(SubjectIdError):
            users.create(gallery, UserId("two words"))

    def test_each_user_is_listed_once(self, users: UserGallery, gallery: GalleryId) -> None:
        names = {UserId(f"user-{number}") for number in range(7)}
        for name in names:
            users.create(gallery, name)
        listed = [user.user_id for user in users.users(gallery)]
        assert len(listed) == 7
        assert set(listed) == names

    @pytest.mark.parametrize("call", ["delete", "associate", "disassociate", "search"])
    def test_an_unknown_user_raises(
        self,
        recognizer: Recognizer,
        users: UserGallery,
        gallery: GalleryId,
        ann: FaceId,
        call: str,
    ) -> None:
        match_all = recognizer.capabilities.match_all
        calls: dict[str, Callable[[], object]] = {
            "delete": lambda: users.delete(gallery, BEN),
            "associate": lambda: users.associate(gallery, BEN, [ann], threshold=match_all),
            "disassociate": lambda: users.disassociate(gallery, BEN, [ann]),
            "search": lambda: users.search_by_user(gallery, BEN, threshold=match_all),
        }
        with pytest.raises(UserNotFoundError):
            calls[call]()

    @pytest.mark.parametrize(
        "call",
        ["create", "delete", "users", "associate", "disassociate", "face", "user", "image"],
    )
    def test_users_of_an_unknown_gallery_raise_and_it_is_named(
        self, recognizer: Recognizer, users: UserGallery, material: ContractMaterial, call: str
    ) -> None:
        nowhere, match_all = GalleryId("nowhere"), recognizer.capabilities.match_all
        faces = [NEVER_ISSUED]
        calls: dict[str, Callable[[], object]] = {
            "create": lambda: users.create(nowhere, ANNA),
            "delete": lambda: users.delete(nowhere, ANNA),
            "users": lambda: list(users.users(nowhere)),
            "associate": lambda: users.associate(nowhere, ANNA, faces, threshold=match_all),
            "disassociate": lambda: users.disassociate(nowhere, ANNA, faces),
            "face": lambda: users.search_by_face(nowhere, NEVER_ISSUED, threshold=match_all),
            "user": lambda: users.search_by_user(nowhere, ANNA, threshold=match_all),
            "image": lambda: users.identify(nowhere, material.ann, threshold=match_all),
        }
        with pytest.raises(GalleryNotFoundError, match="nowhere"):
            calls[call]()

    # -- faces of users

    def test_an_associated_face_says_whose_it_is(
        self,
        recognizer: Recognizer,
        users: UserGallery,
        both: GalleryId,
        material: ContractMaterial,
    ) -> None:
        assert {face.subject: face.user for face in recognizer.faces(both)} == {ANN: ANNA, BOB: BEN}
        assert {user.status for user in users.users(both)} == {UserStatus.ACTIVE}
        found = recognizer.identify(
            both,
            material.ann,
            threshold=recognizer.capabilities.default_threshold,
            faces=FaceSelection.LARGEST,
        )
        assert found.faces[0].candidates[0].face.user == ANNA
        again = recognizer.enroll(both, material.ann, subject=ANN, max_faces=1)
        assert again.records[0].enrolled.user == ANNA

    def test_a_face_of_a_user_is_not_removed(
        self, recognizer: Recognizer, users: UserGallery, both: GalleryId, ann: FaceId
    ) -> None:
        removal = recognizer.remove(both, [ann, NEVER_ISSUED])
        assert (removal.removed, removal.not_found) == ((), (NEVER_ISSUED,))
        assert [(face.face_id, face.user) for face in removal.kept] == [(ann, ANNA)]
        users.disassociate(both, ANNA, [ann])
        assert recognizer.remove(both, [ann]).removed == (ann,)

    def test_deleting_a_user_keeps_its_faces(
        self, recognizer: Recognizer, users: UserGallery, both: GalleryId, ann: FaceId
    ) -> None:
        users.delete(both, ANNA)
        assert {face.subject: face.user for face in recognizer.faces(both)} == {ANN: None, BOB: BEN}
        match_all = recognizer.capabilities.match_all
        found = users.search_by_face(both, ann, threshold=match_all)
        assert [match.user.user_id for match in found.matches] == [BEN]

    def test_associating_again_changes_nothing(
        self, recognizer: Recognizer, users: UserGallery, both: GalleryId, ann: FaceId
    ) -> None:
        done = users.associate(both, ANNA, [ann, ann], threshold=recognizer.capabilities.match_all)
        assert (done.status, done.changed, done.unchanged) == (UserStatus.ACTIVE, (), ())

    def test_faces_that_cannot_be_the_users_are_named_with_why(
        self,
        recognizer: Recognizer,
        users: UserGallery,
        both: GalleryId,
        bob: FaceId,
    ) -> None:
        match_all = recognizer.capabilities.match_all
        done = users.associate(both, ANNA, [bob, NEVER_ISSUED], threshold=match_all)
        assert done.changed == ()
        assert {face.face_id: face.reasons for face in done.unchanged} == {
            bob: (UserReason.ASSOCIATED_TO_A_DIFFERENT_USER,),
            NEVER_ISSUED: (UserReason.FACE_NOT_FOUND,),
        }
        undone = users.disassociate(both, ANNA, [bob, NEVER_ISSUED])
        assert undone.changed == ()
        assert {face.face_id: face.reasons for face in undone.unchanged} == {
            bob: (UserReason.ASSOCIATED_TO_A_DIFFERENT_USER,),
            NEVER_ISSUED: (UserReason.FACE_NOT_FOUND,),
        }

    def test_a_face_unlike_the_user_is_refused_with_its_score(
        self,
        recognizer: Recognizer,
        users: UserGallery,
        gallery: GalleryId,
        ann: FaceId,
        bob: FaceId,
    ) -> None:
        threshold = recognizer.capabilities.default_threshold
        users.create(gallery, ANNA)
        first = users.associate(gallery, ANNA, [ann], threshold=threshold)
        assert (first.changed, first.status) == ((ann,), UserStatus.ACTIVE)
        second = users.associate(gallery, ANNA, [bob], threshold=threshold)
        assert second.changed == ()
        refused = second.unchanged[0]
        assert (refused.face_id, refused.reasons) == (bob, (UserReason.LOW_MATCH_CONFIDENCE,))
        assert refused.score is not None
        assert not refused.score.meets(threshold)
        forced = users.associate(gallery, ANNA, [bob], threshold=recognizer.capabilities.match_all)
        assert forced.changed == (bob,)

    def test_disassociating_ends_where_there_was_something(
        self, users: UserGallery, both: GalleryId, ann: FaceId
    ) -> None:
        undone = users.disassociate(both, ANNA, [ann])
        assert (undone.status, undone.changed) == (UserStatus.CREATED, (ann,))
        again = users.disassociate(both, ANNA, [ann])
        assert (again.changed, again.unchanged) == ((), ())

    def test_a_user_has_at_most_a_hundred_faces(
        self,
        recognizer: Recognizer,
        users: UserGallery,
        gallery: GalleryId,
        material: ContractMaterial,
    ) -> None:
        match_all = recognizer.capabilities.match_all
        ids = [
            _enrolled(recognizer, gallery, material.ann, SubjectId(f"ann-{number}"))
            for number in range(MAX_FACES_PER_USER + 1)
        ]
        users.create(gallery, ANNA)
        full = users.associate(gallery, ANNA, ids[:MAX_FACES_PER_USER], threshold=match_all)
        assert len(full.changed) == MAX_FACES_PER_USER
        with pytest.raises(QuotaExceededError):
            users.associate(gallery, ANNA, ids[MAX_FACES_PER_USER:], threshold=match_all)
        users.disassociate(gallery, ANNA, ids[:1])
        last = users.associate(gallery, ANNA, ids[MAX_FACES_PER_USER:], threshold=match_all)
        assert last.changed == tuple(ids[MAX_FACES_PER_USER:])

    # -- searches

    def test_a_user_is_found_by_a_new_picture(
        self,
        recognizer: Recognizer,
        users: UserGallery,
        both: GalleryId,
        material: ContractMaterial,
    ) -> None:
        threshold = recognizer.capabilities.default_threshold
        found = users.identify(both, material.ann_again, threshold=threshold)
        assert [match.user for match in found.matches] == [User(ANNA, UserStatus.ACTIVE)]
        assert found.matches[0].score.meets(threshold)
        assert found.searched is not None
        assert found.unsearched == ()

    def test_only_the_largest_face_is_searched_and_the_others_are_named(
        self,
        recognizer: Recognizer,
        users: UserGallery,
        both: GalleryId,
        material: ContractMaterial,
    ) -> None:
        threshold = recognizer.capabilities.default_threshold
        found = users.identify(both, material.group, threshold=threshold)
        assert [match.user.user_id for match in found.matches] == [ANNA]
        assert found.searched is not None
        assert len(found.unsearched) >= 1
        assert all(Reason.OTHER_FACE_SEARCHED in face.reasons for face in found.unsearched)
        assert max(face.face.box.area for face in found.unsearched) <= found.searched.box.area

    def test_a_picture_of_nobody_is_a_value(
        self,
        recognizer: Recognizer,
        users: UserGallery,
        both: GalleryId,
        material: ContractMaterial,
    ) -> None:
        found = users.identify(both, material.nobody, threshold=recognizer.capabilities.match_all)
        assert (found.searched, found.matches, found.unsearched) == (None, (), ())

    def test_users_are_found_by_a_face_best_first(
        self, recognizer: Recognizer, users: UserGallery, both: GalleryId, ann: FaceId
    ) -> None:
        match_all = recognizer.capabilities.match_all
        found = users.search_by_face(both, ann, threshold=match_all)
        assert [match.user.user_id for match in found.matches] == [ANNA, BEN]
        assert found.matches[0].score.meets(found.matches[1].score)
        one = users.search_by_face(both, ann, threshold=match_all, limit=1)
        assert one.matches == found.matches[:1]

    def test_a_user_never_finds_itself(
        self, recognizer: Recognizer, users: UserGallery, both: GalleryId
    ) -> None:
        match_all = recognizer.capabilities.match_all
        found = users.search_by_user(both, ANNA, threshold=match_all)
        assert [match.user.user_id for match in found.matches] == [BEN]
        near = users.search_by_user(both, ANNA, threshold=recognizer.capabilities.default_threshold)
        assert near.matches == ()

    def test_a_user_without_faces_finds_nobody_and_is_not_found(
        self,
        recognizer: Recognizer,
        users: UserGallery,
        gallery: GalleryId,
        ann: FaceId,
        material: ContractMaterial,
    ) -> None:
        match_all = recognizer.capabilities.match_all
        users.create(gallery, BEN)
        assert users.search_by_user(gallery, BEN, threshold=match_all).matches == ()
        assert users.search_by_face(gallery, ann, threshold=match_all).matches == ()
        assert users.identify(gallery, material.ann, threshold=match_all).matches == ()

    def test_searching_users_by_an_unknown_face_raises(
        self, recognizer: Recognizer, users: UserGallery, both: GalleryId
    ) -> None:
        with pytest.raises(FaceNotFoundError):
            users.search_by_face(both, NEVER_ISSUED, threshold=recognizer.capabilities.match_all)

    def test_users_have_thresholds_of_the_same_scale(
        self, users: UserGallery, both: GalleryId, ann: FaceId, material: ContractMaterial
    ) -> None:
        foreign = ComparisonScore(0.5, ScoreScale("somebody else's scale", 0.0, 1.0))
        with pytest.raises(ScaleMismatchError):
            users.associate(both, ANNA, [ann], threshold=foreign)
        with pytest.raises(ScaleMismatchError):
            users.search_by_face(both, ann, threshold=foreign)
        with pytest.raises(ScaleMismatchError):
            users.identify(both, material.ann, threshold=foreign)

    def test_users_go_with_their_gallery(
        self, recognizer: Recognizer, users: UserGallery, both: GalleryId
    ) -> None:
        recognizer.delete_gallery(both)
        recognizer.create_gallery(both)
        assert list(users.users(both)) == []


def _enrolled(
    recognizer: Recognizer, gallery: GalleryId, image: Image, subject: SubjectId
) -> FaceId:
    made = recognizer.enroll(gallery, image, subject=subject, max_faces=1)
    return made.records[0].enrolled.face_id
