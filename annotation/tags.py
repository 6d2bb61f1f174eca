"""The tag questions, in the paper's two groups: what is in the picture, how it was taken.

A value can stand in a caption by itself. Each line below is a value, the form's shorter words for
it if it has any, and when it is the right one: "value = words: help".
Source: AuthFace (Liang et al., 2024), figure 2a.
"""

from __future__ import annotations

from annotation.form import Choice, Column, Kind, Question

__all__ = ["PHOTOGRAPHIC", "SEMANTIC"]


def _choice(line: str) -> Choice:
    said, help_ = line.split(":", 1)
    value, _, words = said.partition("=")
    return Choice(value.strip(), words.strip(), help=help_.strip())


def _tags(group: Column, said: str, *, kind: Kind = "one") -> Question:
    """A tag question from its lines: the name and title, what it asks, then a value each."""
    head, help_, *values = (line.strip() for line in said.strip().splitlines())
    name, _, title = head.partition("=")
    choices = tuple(_choice(v) for v in values)
    return Question(name.strip(), kind, group, title.strip(), choices, help=help_)


SEMANTIC = (
    _tags(
        "semantic",
        """
        shot = Shot
        How much of the person the picture shows.
        close_up: the face fills the frame
        shoulders_up: head and shoulders
        half_length: down to about the waist
        full_length: from head to feet
        group: more than two people of about the same size
        """,
    ),
    _tags(
        "semantic",
        """
        gender = Gender, as it appears
        How the person appears; nothing is known of who they are.
        woman: appears as a woman or girl
        man: appears as a man or boy
        not_clear: the picture does not tell
        """,
    ),
    _tags(
        "semantic",
        """
        age_group = Age group
        How old the person looks.
        child: up to about 12; a child needs a guardian's consent
        teenager: about 13 to 17; needs a guardian's consent too
        young_adult: about 18 to 34
        middle_aged: about 35 to 59
        older_adult: about 60 and older
        """,
    ),
    _tags(
        "semantic",
        """
        person_type = Person
        In what part the person is shown; leave it empty if the picture does not tell.
        portrait_sitter = sitter: sits or stands for a portrait as themselves
        fashion_model: shows clothes, make-up or a product
        performer: an actor, musician or dancer at it
        athlete: at sport, or dressed for it
        person_at_work = at work: at a trade, in its place or with its tools
        bride_or_groom: dressed for their wedding
        passer_by: photographed in passing
        """,
    ),
    _tags(
        "semantic",
        """
        clothing = Clothing
        What the person wears, as far as it is seen.
        casual_clothes = casual: everyday clothes
        formal_clothes = formal: a suit, an evening dress
        traditional_clothes = traditional: the dress of a people or a region
        uniform: of a service, a school, a team
        costume: for the stage, a play or carnival
        bare_shoulders: no clothes are seen
        """,
    ),
    _tags(
        "semantic",
        """
        background = Background
        What is behind the person.
        plain_background = plain: paper, a wall, one even tone
        indoor_background = indoor: a room can be made out, even blurred
        nature_background = nature: plants, water, sky
        city_background = city: streets, buildings, lights
        """,
    ),
    _tags(
        "semantic",
        """
        hair = Hair
        Length and wear of the hair on the head.
        short_hair = short: ends above the chin
        medium_length_hair = medium: ends between chin and shoulders
        long_hair = long: falls over the shoulders
        tied_up_hair = tied up: a bun, a tail, braids
        bald: no hair, or shaved close
        covered_hair = covered: under a hat, a scarf, a hood
        """,
    ),
    _tags(
        "semantic",
        """
        hair_colour = Hair colour
        The colour that most of the hair has.
        black_hair = black: black in the light too
        brown_hair = brown: from light to dark brown
        blonde_hair = blonde: from sandy to platinum
        red_hair = red: ginger to auburn
        grey_hair = grey: grey or white
        dyed_hair = dyed: a colour that hair does not grow in
        """,
    ),
    _tags(
        "semantic",
        """
        eyewear = Eyewear
        What is before the eyes.
        no_eyewear = none: the eyes are free
        glasses: the eyes are seen through them
        sunglasses: dark glasses, also pushed up
        """,
    ),
    _tags(
        "semantic",
        """
        accessories = Accessories
        What the person wears besides clothes; several may hold.
        earrings: on one ear or both
        necklace: a chain or beads around the neck
        piercing: in the face, not the ear
        hat: a hat, cap or helmet
        headscarf: a scarf over the head
        hair_ornament: a band, clip, flower or crown in the hair
        scarf: around the neck
        tie: a tie or bow tie
        face_mask: over mouth and nose
        headphones: on the head or in the ears
        """,
        kind="many",
    ),
)
PHOTOGRAPHIC = (
    _tags(
        "photographic",
        """
        light_pattern = Light pattern
        Where the main light falls on the face: look at the shadow of the nose.
        butterfly_lighting = butterfly: from above the lens, a small shadow straight under the nose
        loop_lighting = loop: a short shadow slants from the nose, apart from that of the cheek
        rembrandt_lighting = rembrandt: the two shadows meet and leave a lit triangle on the cheek
        split_lighting = split: from the side, half the face is dark
        broad_lighting = broad: the side of the face turned to the lens is the bright one
        rim_lighting = rim: from behind, a bright edge around head or cheek
        flat_lighting = flat: from the front, hardly a shadow
        """,
    ),
    _tags(
        "photographic",
        """
        light_quality = Light quality
        How hard the shadows' edges are, and the light's colour.
        soft_light = soft: shadows run out slowly
        hard_light = hard: shadows end in a line
        mixed_light = mixed: two lights of different kind or colour, such as a lamp by a window
        coloured_light = coloured: gels, neon, stage light
        """,
    ),
    _tags(
        "photographic",
        """
        expression = Expression
        What the face does.
        neutral_expression = neutral: at rest
        serious_expression = serious: tense, stern or thoughtful
        smile: the corners of the mouth are up
        laugh: an open mouth, narrowed eyes
        surprise: raised brows, wide eyes
        sadness: corners of the mouth down, or tears
        """,
    ),
    _tags(
        "photographic",
        """
        gaze = Gaze
        Where the eyes look.
        looking_at_camera = at camera: into the lens
        looking_aside = aside: past it, left or right
        looking_up = up: above the lens
        looking_down = down: below the lens
        eyes_closed: both lids down
        """,
    ),
    _tags(
        "photographic",
        """
        view = View
        How far the head is turned.
        frontal_view = frontal: both ears alike, or hidden alike
        three_quarter_view = three quarter: turned, and both eyes are seen
        profile_view = profile: one eye is seen
        """,
    ),
    _tags(
        "photographic",
        """
        focus = Focus
        Where it is sharp, at full size.
        sharp_eyes: lashes and iris of the nearer eye are sharp
        sharp_beside_eyes = beside eyes: sharp at the ear, nose or clothes instead
        slightly_soft: no place is quite sharp
        out_of_focus: plainly blurred
        """,
    ),
    _tags(
        "photographic",
        """
        focal_length = Focal length
        As on 24 x 36 mm film; filled in where the file says it.
        wide_angle = wide: under 35 mm, the nose looks large
        normal_lens = normal: 35 to 70 mm
        short_telephoto = short tele: 70 to 135 mm, the portrait lens
        telephoto = tele: 135 mm and longer
        """,
    ),
    _tags(
        "photographic",
        """
        depth_of_field = Depth of field
        How deep it is sharp.
        shallow_depth_of_field = shallow: the ears or the tip of the nose are soft already
        medium_depth_of_field = medium: the head is sharp, the background is not
        deep_depth_of_field = deep: the background can be read
        """,
    ),
    _tags(
        "photographic",
        """
        contrast = Contrast
        How far light and dark of the picture lie apart.
        low_contrast = low: no black or no white
        balanced_contrast = balanced: both, and much between
        high_contrast = high: deep black, bright white, little between
        """,
    ),
    _tags(
        "photographic",
        """
        colour = Colour
        The picture's colours as a whole.
        natural_colours = natural: as the eye saw it
        warm_colours = warm: towards yellow and red
        cool_colours = cool: towards blue
        vivid_colours = vivid: strongly saturated
        muted_colours = muted: weakly saturated
        monochrome: black and white, or toned in one colour
        """,
    ),
    _tags(
        "photographic",
        """
        skin_texture = Skin texture
        How the skin shows at full size.
        fine_skin_texture = fine: fine texture without single pores
        visible_pores: pores can be told apart
        smoothed_skin = smoothed: retouched, filtered or blurred away
        shiny_skin = shiny: highlights hide the texture
        """,
    ),
    _tags(
        "photographic",
        """
        facial_detail = Facial detail
        What a restored face must not lose; several may hold.
        freckles: many small spots
        wrinkles: lines that stay without expression
        stubble: hair too short to lie
        beard: hair long enough to lie, a moustache too
        mole: one or a few dark spots
        scar: a healed wound
        blemishes: spots or redness that will pass
        """,
        kind="many",
    ),
    _tags(
        "photographic",
        """
        makeup = Make-up
        How much of it is seen.
        no_makeup = none: none that is seen
        light_makeup = light: for the day
        heavy_makeup = heavy: for the evening or the camera
        artistic_makeup = artistic: painted, glitter, special effects
        """,
    ),
)
