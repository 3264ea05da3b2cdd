#!/bin/sh
# Is a model better than a look-up of the nearest training shape, on shapes and kinds of shapes not in its training set?
# Generated shapes of 40 kinds (with --furniture: all real models of examples/furniture.sh) are split at random into
# training shapes, held-out instances of the same kinds, and held-out kinds. Three models predict shapes from new images:
# train-recon and train-dit, trained on all training shapes, from 1, 4 and 8 images, and train-dit trained on only 20 of
# them from 4. Their meshes are compared with baselines: the mean shape, retrieval (the training shape whose image
# features, or whose silhouettes, are nearest), the visual hull of the images, kernel ridge regression of the codes, and
# an oracle (the training shape whose mesh is nearest).
#   sh examples/generalise.sh [--size tiny|small] [--furniture] [FOLDER]
# small: takes two hours on one core.
# tiny: takes four minutes and tests that the script runs; its models are not trained long enough to evaluate.
work=generalise options="--size --furniture"
# shellcheck source-path=SCRIPTDIR source=common.sh
. "$(dirname "$0")/common.sh"
# count, kinds: number of shapes and of kinds; few: training shapes of the smaller model; decoder, few_decoder, denoiser,
# recon: training steps; judged: shapes evaluated of each set; points: points on each mesh that is evaluated; views:
# images seen.
case $size in
tiny) count=24 kinds=6 few=4 decoder=150 few_decoder=150 denoiser=150 recon=30 judged=4 points=10000 views="1 4" ;;
small) count=400 kinds=40 few=20 decoder=8000 few_decoder=3000 denoiser=3000 recon=4500 judged=60 points=100000 views="1 4 8" ;;
esac

if [ "$furniture" ]; then
    [ -d raw ] || python "$root/examples/furniture.py" --all -o .
    [ -e manifest.json ] || sdfkit manifest raw/ --csv furniture.csv -o manifest.json
    sdfkit watertight raw/ --manifest manifest.json -o meshes/
else
    set -- airplane chair bottle table car lamp bird sofa mug horse armchair anchor axe bed bench bookshelf bowl bus \
        cabinet cactus cat chess_piece desk dog elephant fish goblet guitar hammer house jug mushroom rabbit rocket \
        stool teapot train tree vase wine_glass
    chosen=
    while [ $# -gt $((40 - kinds)) ]; do chosen="$chosen --category $1" && shift; done
    # shellcheck disable=SC2086  # a list of options
    sdfkit shapes $chosen --count "$count" --seed 1 --format ply -o meshes/
    [ -e manifest.json ] || sdfkit manifest meshes/ -o manifest.json
fi
# split/all and split/few: training shapes. split/judged: the shapes to evaluate (recalled, instances and kinds).
python "$root/examples/generalise.py" split manifest.json meshes/ --few "$few" --judged "$judged" -o split/

embed() { sdfkit embed --model efficientnet-lite0 "$@"; }
for seen in $views; do
    whole "$seen.views.zarr" || sdfkit render split/judged/ --views "$seen" -o "$seen.views.zarr"
    whole "$seen.features.zarr" || embed "$seen.views.zarr" -o "$seen.features.zarr"
done
# judge SET ANSWER IMAGES: compares the meshes of an answer of models that were trained on a set of shapes.
judge() {
    sdfkit compare "$1-$2.$3.meshes/" split/judged/ --training "split/$1/" --features "$3.features.zarr" \
        --training-features "$1.features.zarr" --codes "$1.deepsdf.zarr" --views "$3.views.zarr" \
        --points "$points" --json >report.part
    mv report.part "reports/$1-$2.$3.json"
}
mkdir -p reports
for model in few all; do
    steps=$decoder seen_by=$views
    [ "$model" = all ] || steps=$few_decoder seen_by=4
    store() { echo "$model.$1.zarr"; }
    whole "$(store samples)" || sdfkit sample-sdf "split/$model/" --points 100000 -o "$(store samples)"
    whole "$(store views)" || sdfkit render "split/$model/" --views 24 -o "$(store views)"
    whole "$(store features)" || embed "$(store views)" -o "$(store features)"
    whole "$(store deepsdf)" || sdfkit train-deepsdf "$(store samples)" --steps "$steps" --code-std 0.01 -o "$(store deepsdf)"
    whole "$(store dit)" || sdfkit train-dit "$(store features)" --codes "$(store deepsdf)" --steps "$denoiser" -o "$(store dit)"
    for seen in $seen_by; do
        [ -e "reports/$model-dit.$seen.json" ] || {
            # mesh ends with status 4 if a prediction has no surface; compare gives this prediction a score of 0.
            sdfkit predict "$(store dit)" "$seen.features.zarr" |
                sdfkit mesh --decoder "$(store deepsdf)" -o "$model-dit.$seen.meshes/" || [ $? -eq 4 ]
            judge "$model" dit "$seen"
        }
    done
done
whole recon.zarr || sdfkit train-recon all.views.zarr --samples all.samples.zarr --steps "$recon" -o recon.zarr
for seen in $views; do
    [ -e "reports/all-recon.$seen.json" ] || {
        sdfkit predict recon.zarr "$seen.views.zarr" | sdfkit mesh -o "all-recon.$seen.meshes/" || [ $? -eq 4 ]
        judge all recon "$seen"
    }
done
python "$root/examples/generalise.py" table split/ reports/*.json | tee table.md
rm -rf retrieved hulls
python "$root/examples/generalise.py" retrieved split/ reports/all-recon.4.json -o retrieved/
python "$root/examples/generalise.py" hulls 4.views.zarr -o hulls/
# All the numbers of images that there are, then the baselines from four images.
predicted=$(for seen in $views; do echo "all-recon.$seen.meshes/"; done)
# shellcheck disable=SC2086  # a list of folders
for set in instances kinds; do
    python "$root/examples/contact_sheet.py" "split/$set/" $predicted retrieved/ hulls/ -o "$set.png" --columns 2 --most 10
done

echo
echo "Table:   $PWD/table.md"
echo "Images:  $PWD/instances.png, $PWD/kinds.png (ten held-out shapes each: the shape, the predictions of train-recon"
echo "         from $(echo $views) images; from four images, retrieval by features and the visual hull)"
