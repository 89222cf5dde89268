"use strict";
// The images that are most worth correcting, in this order, each with the reason.
if (DATA.review.length) {
  const images = DATA.review.map(({ position }) => DATA.gallery.images[position]);

  sections.review = () => {
    const page = paged("review", DATA.review, 48, sections.review);
    byId("review").replaceChildren(
      ...page.map(({ position, reason }) => makeCard(DATA.gallery.images[position], images, `${reason}.`)),
    );
  };
  keys.review = keys.keypoints; // those of the viewer
}
